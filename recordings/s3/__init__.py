"""S3: the only wing that knows boto3.

``session`` opens a client, ``store`` has every request, ``objects`` what S3 answers, ``errors`` what its refusals mean.
"""
