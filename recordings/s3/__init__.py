"""S3: the only folder that knows boto3.

``session`` opens a client, ``store`` has every request, ``objects`` S3's answers, ``errors`` the meaning of its
refusals.
"""
