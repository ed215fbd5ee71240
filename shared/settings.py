"""The settings that api and worker share; the environment is read through these classes and nowhere else."""

from pathlib import Path

from pydantic import Field, NonNegativeFloat, PositiveFloat
from pydantic_settings import BaseSettings, SettingsConfigDict


class SharedSettings(BaseSettings):
    """Settings that both sides read, each from the environment variable of its name in capitals."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, use_attribute_docstrings=True)

    redis_url: str = "redis://127.0.0.1:6379/0"
    """Where the job queue lives: `redis://`, `rediss://` or `unix://`. `make run` starts one by itself."""

    data_dir: Path = Path("data")
    """The folder for uploads and model weights; only its owner may read it."""

    lease_s: PositiveFloat = 30.0
    """Seconds after which a worker that fell silent loses its job to another."""

    queue_ttl_s: NonNegativeFloat = 86_400.0
    """Seconds after which a job that no worker has begun fails as `expired`; 0 means never."""

    job_ttl_s: PositiveFloat = 86_400.0
    """Seconds for which a finished job and its transcript are kept, after the end of its callback if it has
    one; `DELETE` removes them at once."""

    max_audio_s: PositiveFloat = 43_200.0
    """The longest audio that is accepted, in seconds."""

    decoder_memory_bytes: int = Field(default=512 << 20, gt=0)
    """Memory that the confined decoder of one upload may use."""

    decoder_cpu_s: PositiveFloat = 900.0
    """Seconds of CPU time that the confined decoder of one upload may use."""

    probe_timeout_s: PositiveFloat = 30.0
    """Seconds within which an upload must have been examined. After half of them its packets are counted no
    further, and its header is believed."""

    log_level: str = "INFO"
    """The least level of log lines written: DEBUG, INFO, WARNING or ERROR."""

    upload_ttl_s: NonNegativeFloat = 3_600.0
    """Seconds for which audio is kept after its upload, and longer while its job is queued or running.
    JOB_TTL_S does not matter to it; 0 means until a minute after its job has ended. `DELETE` deletes audio at
    once."""

    allow_private_addresses: bool = False
    """Whether URLs of clients, for webhooks and for audio, may lead to addresses that are not public: this
    machine and its network. Only where all clients are trusted."""

    @property
    def uploads_dir(self) -> Path:
        """Where uploads are stored."""
        return self.data_dir / "uploads"

    @property
    def models_dir(self) -> Path:
        """Where model weights are kept."""
        return self.data_dir / "models"
