"""No credential reaches a log."""

import io
import json
import logging

import pytest
import structlog

from reelgate_common import logs


@pytest.fixture
def log():
    """Log like a service, into a text; and give everybody's logging back afterwards."""
    root = logging.getLogger()
    before = root.handlers, root.level, structlog.get_config()
    logs.configure("tests")
    text = io.StringIO()
    root.handlers[0].setStream(text)
    yield structlog.get_logger("tests"), text
    root.handlers, root.level = before[0], before[1]
    structlog.configure(**before[2])


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
