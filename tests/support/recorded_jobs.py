"""Jobs put on record directly, for tests of what can be done with a job once it is there."""

import uuid

from shared.jobs import Endpoint, NewJob, Priority, TranscriptionRequest, Upload
from shared.record.admission import submit_job
from shared.record.connection import connect


def record_job(redis_url: str, *, key_name: str = "") -> str:
    """Queue a job that belongs to the API key of that name; answers its path."""
    job_id = uuid.uuid4().hex
    upload = Upload(job_id, "a.wav", 10, "ab", 2.0)
    job = NewJob(job_id, Endpoint.JOBS, Priority.BATCH, upload, TranscriptionRequest(), key_name)
    connect(redis_url).run(submit_job(job))
    return f"/v1/jobs/{job_id}"
