"""Parts of settings that services share. No instance lives here: only `__main__` reads the environment."""

import os
import re
import secrets
import sys
from typing import Annotated, Any, Literal, Self, TypeVar
from uuid import UUID

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MODEL_CONFIG = SettingsConfigDict(extra="ignore", env_ignore_empty=True, secrets_dir=None)


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class BadSettings(Exception):
    """One line per problem, fit for an operator."""


def _no_slash(value: Any) -> Any:
    return value.rstrip("/") if isinstance(value, str) else value


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Words = Annotated[list[str], NoDecode, BeforeValidator(_split)]  # in the environment: separated by commas

BaseUrl = Annotated[str, BeforeValidator(_no_slash), Field(pattern=r"^https?://[^/\s]+")]


class LogSettings(BaseSettings):
    """How a process speaks."""

    model_config = MODEL_CONFIG

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    # auto: console on a terminal, else json.
    log_format: Literal["auto", "json", "console"] = "auto"


class TraceSettings(BaseSettings):
    """Whether spans are exported, by the names OpenTelemetry gives its settings."""

    model_config = MODEL_CONFIG

    otel_exporter_otlp_endpoint: BaseUrl | None = None
    otel_exporter_otlp_headers: SecretStr | None = None  # name=value, separated by commas
    otel_traces_sampler_arg: float = Field(default=1, ge=0, le=1)  # the share of requests whose trace is recorded


class HttpSettings(BaseSettings):
    """Where a process listens: its API, or only health and metrics."""

    model_config = MODEL_CONFIG

    http_host: str = "127.0.0.1"
    http_port: int = Field(default=8000, ge=0, le=65535)


class PostgresSettings(BaseSettings):
    """The database, and limits on every wait for it."""

    model_config = MODEL_CONFIG

    database_url: SecretStr
    database_pool_size: int = Field(default=10, ge=1)
    database_acquire_seconds: Seconds = 5
    database_command_seconds: Seconds = 10


class RabbitSettings(BaseSettings):
    """The broker."""

    model_config = MODEL_CONFIG

    amqp_url: SecretStr


_KIE_API = "https://api.kie.ai"
_KIE_FILES = "https://kieai.redpandaai.co"


class KieSettings(BaseSettings):
    """Kie.ai, as a client sees it."""

    model_config = MODEL_CONFIG

    kie_ai_api_key: SecretStr
    kie_ai_api_endpoint: BaseUrl = _KIE_API
    kie_send_timeout_seconds: Seconds = 45  # the vendor answers within 0.5 s as a rule
    kie_query_timeout_seconds: Seconds = 15
    kie_file_endpoint: BaseUrl | None = None
    kie_upload_timeout_seconds: Seconds = 120
    # Whose videos are given to callers; `.example.com` is every name below it; none: any host's.
    result_url_hosts: Words = Field(default_factory=list)

    @field_validator("result_url_hosts")
    @classmethod
    def _host_names(cls, hosts: list[str]) -> list[str]:
        names = [host.lower() for host in hosts]
        if not all(re.fullmatch(r"\.?[a-z0-9-]+(\.[a-z0-9-]+)*", name) for name in names):
            raise ValueError("must be host names separated by commas, such as cdn.example.com,.example.net")
        return names

    @property
    def file_endpoint(self) -> str:
        """Where files are handed over. A stand-in for Kie.ai gets them too: they must not go to the vendor then."""
        is_vendor = self.kie_ai_api_endpoint == _KIE_API
        return self.kie_file_endpoint or (_KIE_FILES if is_vendor else self.kie_ai_api_endpoint)


def _with_scheme(value: Any) -> Any:
    """VERCEL_URL is a bare host name, as that platform sets it."""
    return f"https://{value}" if isinstance(value, str) and re.fullmatch(r"[\w.-]+\.vercel\.app", value) else value


_PUBLIC_URL = AliasChoices("public_base_url", "next_public_base_url", "vercel_url")
LINKS = "/api/video/files"  # where the api answers to links of its own


class CustodySettings(BaseSettings):
    """Whether and where videos are kept."""

    model_config = MODEL_CONFIG

    # s3://bucket/prefix, gs://…, az://… or file:///folder; credentials as obstore finds them. Unset: nothing is kept.
    custody_url: Annotated[str, Field(pattern=r"^(s3|gs|az)://[^/\s]+|^file:///[^\s]")] | None = None
    # The public origin, which links begin with. Under a name of its own, since not every process must have it.
    video_base_url: Annotated[BaseUrl, BeforeValidator(_with_scheme)] | None = Field(
        default=None, validation_alias=_PUBLIC_URL
    )

    @model_validator(mode="after")
    def _links_lead_somewhere(self) -> Self:
        if self.custody_url and not self.video_base_url:
            raise ValueError("CUSTODY_URL needs PUBLIC_BASE_URL, which the links to videos begin with")
        return self

    def new_video_link(self, job_id: UUID) -> str | None:
        """A lasting address of a video, known to whoever it is given to and to nobody else; None without custody."""
        if not self.custody_url:
            return None
        return f"{self.video_base_url}{LINKS}/{job_id}/{secrets.token_urlsafe(16)}.mp4"


class JobSettings(CustodySettings):
    """Deadlines and policies of a job's life. Times in seconds."""

    model_config = MODEL_CONFIG

    submit_lease_seconds: Seconds = 90
    submit_unknown_deadline: Seconds = 3600
    submit_unknown_policy: Literal["fail", "resubmit"] = "fail"
    processing_deadline: Seconds = 7200
    pending_deadline: Seconds = 86400
    first_poll_seconds: Seconds = 60
    max_poll_seconds: Seconds = 60
    hint_interval_seconds: Seconds = 5
    empty_result_grace_seconds: float = Field(default=120, ge=0)
    kie_queries_per_second: int = Field(default=10, ge=1)  # the vendor's limit on record-info, for all of us
    late_check_seconds: Seconds = 3600
    late_check_days: float = Field(default=14, ge=0)  # the vendor forgets a task after 14 days
    late_success: Literal["give", "recharge"] = "give"


class SendWindowSettings(BaseSettings):
    """How many sends Kie.ai takes in a while."""

    model_config = MODEL_CONFIG

    # The vendor takes 20 new tasks in 10 s per account and refuses, not queues, the rest.
    kie_sends_per_window: int = Field(default=20, ge=1)
    kie_send_window_seconds: Seconds = 10


class WebhookSettings(BaseSettings):
    """Where outgoing webhooks may go."""

    model_config = MODEL_CONFIG

    webhook_allow_private: bool = False  # for development: http, and addresses that are not public


class PublicUrlSettings(BaseSettings):
    """The one public origin: callers reach the API there, and Kie.ai the callback path."""

    model_config = MODEL_CONFIG

    public_base_url: Annotated[BaseUrl, BeforeValidator(_with_scheme)] = Field(validation_alias=_PUBLIC_URL)


class CallbackUrlSettings(PublicUrlSettings):
    """Where Kie.ai reaches the callback service."""

    callback_base_url: BaseUrl | None = None  # if not at the public origin

    @property
    def callback_url(self) -> str:
        """The whole of it, without what an attempt adds."""
        return f"{self.callback_base_url or self.public_base_url}/api/video/kie-ai-callback"


S = TypeVar("S", bound=BaseSettings)


def load(settings: type[S]) -> S:
    """Read the environment, then the files in SECRETS_DIR; BadSettings with one clear line per problem."""
    try:
        return settings(_secrets_dir=os.environ.get("SECRETS_DIR") or None)
    except ValidationError as error:
        raise BadSettings("\n".join(_lines(error))) from None


def load_or_exit(settings: type[S]) -> S:
    """Read the environment, or stop the process with what is wrong with it."""
    try:
        return load(settings)
    except BadSettings as problems:
        sys.exit(f"Bad settings:\n{problems}")


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        name = "_".join(str(part) for part in problem["loc"]).upper() or "settings"
        reason = "is not set" if problem["type"] == "missing" else problem["msg"]
        lines.append(f"  {name}: {reason}")
    return list(dict.fromkeys(lines))  # two parts may read one name
