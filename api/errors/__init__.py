"""Errors of the API: one tree of classes, the table of their HTTP answers, and the handlers.

Classes marked with * are in `shared.errors`, because shared code raises them. Errors of URLs are in
`api.errors.urls`, all others in `api.errors.tree`. HTTP statuses and codes are in `api.errors.answers` alone.

ServerError *
├── InvalidRequest *            a parameter is wrong
│   ├── UnsupportedValue        a value that OpenAI has and this server does not support
│   ├── UnreadableAudio *       the decoder cannot read the upload
│   ├── AudioTooShort           less audio than MIN_AUDIO_S
│   ├── AudioTooLong *          more audio than MAX_AUDIO_S or the API key allows
│   ├── UrlInputOff             the form has a `url` and URL_INPUT is off
│   ├── UrlRefused              the server sends no request to this URL
│   ├── UrlUnreachable          no connection to the host of a URL
│   └── UrlFailed               the host of a URL did not send the audio
├── MissingApiKey               no API key in the request
├── IncorrectApiKey             an unknown API key
├── IncorrectStreamToken        a stream token that is unknown, expired or for another job
├── ModelNotFound               no live worker serves this model
├── UploadStalled               the client stopped sending in the middle of the upload
├── UploadTooLarge              more bytes than MAX_UPLOAD_BYTES or the API key allows
├── StorageFull *               no disk space for the upload
├── IdempotencyKeyReused *      an idempotency key of a different request
├── QueueFull *                 the limits of the server or of the API key leave no room in the queue
├── QueueTooLong                the queue is longer than the request can wait
├── TooManyFetches              too many downloads at once
├── TooManyStreams              too many open event streams
├── NotReady                    a readiness probe finds the queue full
├── ModelUnavailable            a readiness probe finds that the load of the model has just failed
├── NoWorker                    no worker is alive
├── QueueUnavailable *          Redis does not answer
├── MediaServiceDown *          the sandboxed decoder did not start or did not answer
├── JobNotFound                 no job has this id
├── JobGone                     JOB_TTL_S of the job is over
├── JobUnfinished               the job has no transcript yet
├── JobFailed                   the job has no transcript because it failed
├── TranscriptionFailed         the job failed while a client waited for it
├── TranscriptionCancelled      the job was cancelled, so it has no transcript
├── SyncWaitOver                the job took longer than SYNC_WAIT_S
├── ServerStopping              the api process stops while a client waits
└── StreamInterrupted           a second attempt contradicts text that was already streamed

ClientDisconnected is not part of the tree: there is no client left to answer.
"""
