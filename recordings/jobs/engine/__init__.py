"""What all kinds of jobs share: how they select, record what they set out to do, delete, settle and sum up."""
