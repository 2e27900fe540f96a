"""Settings: what is accepted, and what is said about the rest."""

import pytest

from reelgate_api.settings import Settings as ApiSettings
from reelgate_callback.settings import Settings as CallbackSettings
from reelgate_common.domain import pricing
from reelgate_common.settings import BadSettings, load, load_or_exit
from reelgate_reconciler.settings import Settings as ReconcilerSettings
from reelgate_submitter.settings import Settings as SubmitterSettings

NEEDED = {
    "DATABASE_URL": "postgresql://db/reelgate",
    "AMQP_URL": "amqp://mq/",
    "KIE_AI_API_KEY": "key",
    "PUBLIC_BASE_URL": "http://localhost:3000",
}
SERVICES = [ApiSettings, CallbackSettings, ReconcilerSettings, SubmitterSettings]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """Only what a test sets, and what every service needs."""
    for service in SERVICES:
        for name in service.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)
    for name in ("NEXT_PUBLIC_BASE_URL", "VERCEL_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)


def problems(service=ApiSettings):
    with pytest.raises(BadSettings) as bad:
        load(service)
    return str(bad.value).splitlines()


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_starts_with_what_it_needs_and_no_more(service):
    assert load(service).database_pool_size > 0


def test_each_missing_setting_is_one_line(monkeypatch):
    for name in NEEDED:
        monkeypatch.delenv(name)

    assert sorted(problems()) == [f"  {name}: is not set" for name in sorted(NEEDED)]


def test_an_empty_setting_is_not_set(monkeypatch):
    monkeypatch.setenv("KIE_AI_API_KEY", "")

    assert problems() == ["  KIE_AI_API_KEY: is not set"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PORT", "many"),
        ("HTTP_PORT", "65536"),
        ("PROCESSING_DEADLINE", "0"),
        ("PROCESSING_DEADLINE", "-5"),
        ("PROCESSING_DEADLINE", "nan"),
        ("PROCESSING_DEADLINE", "inf"),
        ("LATE_SUCCESS", "keep"),
        ("AUTH_MODE", "none"),
        ("LOG_LEVEL", "LOUD"),
        ("PUBLIC_BASE_URL", "gateway.example"),
        ("KIE_AI_API_ENDPOINT", "ftp://api.kie.ai"),
        ("KIE_REFERENCE_IMAGE_LIMIT", "9"),
        ("SIGNUP_CREDITS", "-1"),
        ("API_WORKERS", "0"),
        ("CREDITS_PER_VIDEO", "0"),
        ("CREDITS_PER_VIDEO", "-4"),
        ("CREDITS_PER_VIDEO", "four"),
        ("CREDITS_PER_VIDEO", '{"veo3_fast": {"720p": 0}}'),
        ("CREDITS_PER_VIDEO", '{"veo3_fast": {"720p": 4}'),
        ("CREDITS_PER_VIDEO", '{"veo3_fast": 4}'),
    ],
)
def test_a_bad_setting_is_one_line_that_names_it(monkeypatch, name, value):
    monkeypatch.setenv(name, value)

    [line] = problems()

    assert line.strip().startswith(name)


def test_a_bad_secret_is_not_repeated(monkeypatch):
    monkeypatch.setenv("HTTP_PORT", "s3cret")

    assert "s3cret" not in "".join(problems())


def test_a_process_stops_with_the_problems(monkeypatch):
    monkeypatch.delenv("AMQP_URL")

    with pytest.raises(SystemExit) as stopped:
        load_or_exit(ApiSettings)

    assert stopped.value.code == "Bad settings:\n  AMQP_URL: is not set"


@pytest.mark.parametrize(
    ("name", "value", "url"),
    [
        ("PUBLIC_BASE_URL", "https://gateway.example/", "https://gateway.example"),
        ("NEXT_PUBLIC_BASE_URL", "https://gateway.example", "https://gateway.example"),
        ("VERCEL_URL", "gateway.vercel.app", "https://gateway.vercel.app"),
        ("VERCEL_URL", "https://gateway.vercel.app", "https://gateway.vercel.app"),
    ],
)
def test_the_public_url_may_have_the_guides_names(monkeypatch, name, value, url):
    monkeypatch.delenv("PUBLIC_BASE_URL")
    monkeypatch.setenv(name, value)

    assert load(SubmitterSettings).public_base_url == url


def test_our_own_name_of_the_public_url_wins(monkeypatch):
    monkeypatch.setenv("VERCEL_URL", "gateway.vercel.app")

    assert load(SubmitterSettings).public_base_url == "http://localhost:3000"


@pytest.mark.parametrize(
    "url", ["http://localhost:3000", "http://127.0.0.1", "http://127.9.9.9:1", "http://[::1]:3000"]
)
def test_open_mode_is_for_this_machine(monkeypatch, url):
    monkeypatch.setenv("AUTH_MODE", "open")
    monkeypatch.setenv("PUBLIC_BASE_URL", url)

    assert load(ApiSettings).auth_mode == "open"


@pytest.mark.parametrize(
    "url",
    ["https://gateway.example", "http://10.0.0.1", "http://0.0.0.0", "http://localhost.example", "http://1.2.3.4"],
)
def test_open_mode_is_refused_for_a_public_url(monkeypatch, url):
    monkeypatch.setenv("AUTH_MODE", "open")
    monkeypatch.setenv("PUBLIC_BASE_URL", url)

    [line] = problems()

    assert "AUTH_MODE=open" in line
    assert "PUBLIC_BASE_URL" in line


def test_without_an_auth_mode_a_key_is_needed():
    assert load(ApiSettings).auth_mode == "required"


def test_the_price_may_be_one_number(monkeypatch):
    monkeypatch.setenv("CREDITS_PER_VIDEO", "8")

    assert load(ApiSettings).credits_per_video == pricing.default_prices(8)


def test_the_price_may_be_a_list(monkeypatch):
    monkeypatch.setenv("CREDITS_PER_VIDEO", '{"veo3_fast": {"720p": 9}}')

    assert load(ApiSettings).credits_per_video == {"veo3_fast": {"720p": 9}}


@pytest.mark.parametrize(
    ("value", "origins"), [("", []), ("https://a.example", ["https://a.example"]), ("https://a, *", ["https://a", "*"])]
)
def test_origins_are_a_comma_separated_list(monkeypatch, value, origins):
    monkeypatch.setenv("CORS_ALLOW_ORIGINS", value)

    assert load(ApiSettings).cors_allow_origins == origins


def test_secrets_do_not_show(monkeypatch):
    monkeypatch.setenv("KIE_AI_API_KEY", "s3cret")
    monkeypatch.setenv("CRON_SECRET", "s3cret")

    assert "s3cret" not in repr(load(ApiSettings))


def test_the_vendors_prices_are_replaced_one_by_one(monkeypatch):
    monkeypatch.setenv("KIE_PRICES", '{"videos": {"veo3": {"720p": 300}}, "upgrades": {"4k": 99}}')

    prices = load(SubmitterSettings).vendor_prices

    assert (prices.videos["veo3"]["720p"], prices.videos["veo3"]["4k"]) == (300, 380)
    assert prices.upgrades == {"1080p": 5, "4k": 99}


@pytest.mark.parametrize("bad", ["60", "[]", "{", '{"videos": 1}', '{"videos": {"veo3": {"720p": "much"}}}'])
def test_prices_that_cannot_be_read_stop_the_start(monkeypatch, bad):
    monkeypatch.setenv("KIE_PRICES", bad)

    assert "KIE_PRICES" in problems(SubmitterSettings)[0]


def test_upgrades_cost_in_the_ratio_of_the_list_unless_they_have_prices_of_their_own(monkeypatch):
    monkeypatch.setenv("CREDITS_PER_VIDEO", "60")
    assert load(ApiSettings).prices.upgrades == {"1080p": 5, "4k": 120}

    monkeypatch.setenv("CREDITS_PER_UPGRADE", '{"4k": 7}')
    assert load(ApiSettings).prices.upgrades == {"4k": 7}


@pytest.mark.parametrize("service", [ApiSettings, ReconcilerSettings])
@pytest.mark.parametrize("url", ["file:///dev/null/videos", "az://account-is-missing/x", "s3://[/x"])
def test_a_bucket_that_cannot_be_stops_the_start_with_a_line(monkeypatch, service, url):
    monkeypatch.setenv("CUSTODY_URL", url)

    [problem] = problems(service)

    assert "CUSTODY_URL" in problem
