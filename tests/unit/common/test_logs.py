"""No credential reaches a log."""

import io
import json
import logging
import string
import sys

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from reelgate_common import logs, tracing


@pytest.fixture
def log():
    """Log like a service, into a text; and give everybody's logging back afterwards."""
    root = logging.getLogger()
    before = root.handlers, root.level, structlog.get_config(), sys.excepthook
    uvicorn = logging.getLogger("uvicorn")  # a server of another test may have given it handlers of its own
    of_uvicorn = uvicorn.handlers, uvicorn.propagate
    uvicorn.handlers, uvicorn.propagate = [], True
    logs.configure("tests")
    text = io.StringIO()
    root.handlers[0].setStream(text)
    yield structlog.get_logger("tests"), text
    root.handlers, root.level = before[0], before[1]
    uvicorn.handlers, uvicorn.propagate = of_uvicorn
    structlog.configure(**before[2])
    sys.excepthook = before[3]


def lines(text):
    return [json.loads(line) for line in text.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer ***"),
        ("bearer abc", "bearer ***"),
        ("GET /cb?attempt=1&token=s3cret HTTP/1.1", "GET /cb?attempt=1&token=*** HTTP/1.1"),
        (
            '{"callBackUrl": "https://x/cb?token=s3cret&attempt=1"}',
            '{"callBackUrl": "https://x/cb?token=***&attempt=1"}',
        ),
        ("postgresql://reelgate:s3cret@db:5432/reelgate", "postgresql://reelgate:***@db:5432/reelgate"),
        ("amqp://guest:s3cret@mq/vhost", "amqp://guest:***@mq/vhost"),
        ("key rg_live_0123abcd was used", "key rg_live_*** was used"),
        ("signed with whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD== today", "signed with whsec_*** today"),
        ("/cb?attempt=1&amp;token=s3cret", "/cb?attempt=1&amp;token=***"),
        (r'"/cb?attempt=1\u0026token=s3cret"', r'"/cb?attempt=1\u0026token=***"'),
        ("token=s3cret&attempt=1", "token=***&attempt=1"),
        ("%253Ftoken%253Ds3cret", "%253Ftoken%253D***"),
        ('{"token": "s3cret", "n": 1}', '{"token": "***", "n": 1}'),
        (r'{"body": "{\"api_key\":\"s3cret\"}"}', r'{"body": "{\"api_key\":\"***\"}"}'),
        ("X-Api-Key: s3cret", "X-Api-Key: ***"),
        ("https://x.blob.example/v.mp4?sv=2&sig=s3cret%3D", "https://x.blob.example/v.mp4?sv=2&sig=***"),
        ("amqp://guest:s3c@ret@mq/vhost", "amqp://guest:***@mq/vhost"),
        ("nothing to hide: token bucket", "nothing to hide: token bucket"),
        ("https://media.example/v.mp4?x=1", "https://media.example/v.mp4?x=1"),
    ],
)
def test_credentials_in_a_text_are_blanked(text, shown):
    assert logs.redact(text) == shown


@pytest.mark.parametrize(
    "name", ["token", "callback_token", "kie_ai_api_key", "API_KEY", "password", "cron_secret", "Authorization", "dsn"]
)
def test_values_under_a_secret_name_are_blanked(log, name):
    logger, text = log

    logger.info("something_happened", **{name: "s3cret"})

    assert lines(text)[0][name] == "***"


def test_whether_a_token_was_good_is_told(log):
    logger, text = log

    logger.info("callback_stored", token_ok=True, signature_ok=None)

    assert lines(text)[0].items() >= {"token_ok": True, "signature_ok": None}.items()


def test_credentials_in_a_traceback_are_blanked(log):
    logger, text = log

    logger.error("connect_failed", exc_info=ValueError("cannot connect to amqp://guest:s3cret@mq/"))

    assert "s3cret" not in text.getvalue()
    assert "amqp://guest:***@mq/" in lines(text)[0]["exception"]


def test_other_libraries_are_cleaned_too(log):
    _, text = log

    logging.getLogger("somebody.else").warning("sent Bearer %s", "s3cret")

    assert lines(text)[0]["event"] == "sent Bearer ***"


def test_credentials_inside_a_structure_are_blanked(log):
    logger, text = log

    logger.info("request_seen", headers={"Authorization": "Bearer s3cret"}, urls=["https://x/?token=s3cret"])

    assert "s3cret" not in text.getvalue()


def test_a_line_names_its_service_and_time(log):
    logger, text = log

    logger.info("job_accepted", job_id="1")

    assert (
        lines(text)[0].items() >= {"event": "job_accepted", "service": "tests", "level": "info", "job_id": "1"}.items()
    )
    assert "timestamp" in lines(text)[0]


SECRETS = st.text(string.ascii_letters + string.digits, min_size=8, max_size=40).map("s3cret".__add__)
NAMES = st.sampled_from(["token", "access_token", "X-Amz-Signature", "signature", "api_key", "apikey", "password"])
PLACES = st.one_of(
    st.builds("https://x.example/v?a=1&{}={}&b=2".format, NAMES, SECRETS),
    st.builds("https://x.example/?u=https%3A%2F%2Fy%3F{}%3D{}".format, NAMES, SECRETS),
    st.builds("Authorization: {} {}".format, st.sampled_from(["Bearer", "bearer", "Basic"]), SECRETS),
    st.builds("amqp://{}:{}@mq/v".format, st.sampled_from(["guest", ""]), SECRETS),
    st.builds("{}{} was used".format, st.sampled_from(["rg_live_", "rg_test_", "rgs_", "whsec_"]), SECRETS),
)
SHAPES = st.recursive(
    PLACES | PLACES.map(ValueError) | SECRETS.map(lambda secret: {"callback_token": secret}) | SECRETS.map(SecretStr),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["url", "error", "headers"]), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=SHAPES)
def test_no_credential_is_logged_wherever_it_hides(log, value):
    logger, text = log

    logger.info("something_happened", value=value)
    logger.error("something_broke", exc_info=ValueError(str(value) if isinstance(value, str) else "none"))

    assert "s3cret" not in text.getvalue()


def test_a_line_names_the_trace_it_belongs_to(log):
    logger, text = log

    with tracing.continuing("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"):
        logger.info("job_accepted")
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    logger.info("pass_done")

    inside, foreign, outside = lines(text)
    place = {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7"}
    assert inside.items() >= place.items()
    assert foreign.items() >= place.items()
    assert "trace_id" not in outside


def test_an_exception_that_ends_the_process_is_a_line_too(log):
    _, text = log

    sys.excepthook(ValueError, ValueError("amqp://guest:s3cret@mq/"), None)

    [line] = lines(text)
    assert (line["event"], line["level"]) == ("process_crashed", "critical")
    assert "s3cret" not in text.getvalue()


@pytest.mark.parametrize(("form", "terminal", "is_json"), [("auto", True, False), ("auto", False, True)])
def test_the_form_fits_who_reads(log, monkeypatch, form, terminal, is_json):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)

    logs.configure("tests", form=form)

    renderer = logging.getLogger().handlers[0].formatter.processors[-1]
    assert isinstance(renderer, structlog.processors.JSONRenderer) == is_json
