"""What the api and the worker both agree on: vocabulary, the job record, events, and untrusted media."""
