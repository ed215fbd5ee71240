"""The common ground of api and worker: vocabulary, the job record, events and untrusted media."""
