"""The process: settings from the environment, a clean stop."""

import concurrent.futures
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from reelgate_simulator.settings import Settings


def start(**environment):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "reelgate_simulator"],
        env=os.environ | {"HTTP_PORT": str(port)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return process, f"http://127.0.0.1:{port}"


def wait_until_ready(base):
    end = time.monotonic() + 20
    while True:
        try:
            return httpx.get(f"{base}/readyz", trust_env=False)
        except httpx.TransportError:
            assert time.monotonic() < end, "the simulator did not start"
            time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_with_exit_code_0_whatever_is_under_way(number):
    process, base = start(SIM_VIDEO_SECONDS="1.5", SIM_CREDITS="90.5", KIE_AI_API_KEY="key")
    with process:
        wait_until_ready(base)
        with httpx.Client(base_url=base, headers={"Authorization": "Bearer key"}, trust_env=False) as http:
            answer = http.post("/api/v1/veo/generate", json={"prompt": "a cat", "callBackUrl": f"{base}/none"})
            assert answer.json()["code"] == 200
            assert http.get("/api/v1/chat/credit").json()["data"] == 30.5
            process.send_signal(number)
            output, _ = process.communicate(timeout=10)

    assert process.returncode == 0
    assert output == ""


def test_a_bad_setting_stops_the_start_with_one_line():
    process, _ = start(SIM_VIDEO_SECONDS="soon")
    output, _ = process.communicate(timeout=20)

    assert process.returncode == 1
    assert output.startswith("SIM_VIDEO_SECONDS: ")
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ({}, "http://127.0.0.1:8090"),
        ({"HTTP_HOST": "0.0.0.0", "HTTP_PORT": "81"}, "http://127.0.0.1:81"),
        ({"SIM_PUBLIC_URL": "http://sim.test/"}, "http://sim.test"),
    ],
)
def test_result_urls_begin_with_an_address_that_can_be_reached(monkeypatch, given, base):
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    assert Settings().config().public_url == base


def test_every_setting_reaches_the_config(monkeypatch):
    given = {
        "KIE_AI_API_KEY": "a",
        "KIE_WEBHOOK_HMAC_KEY": "b",
        "KIE_SENDS_PER_WINDOW": "1",
        "KIE_SEND_WINDOW_SECONDS": "2",
        "SIM_VIDEO_SECONDS": "3",
        "SIM_LATE_SECONDS": "4",
        "SIM_SUBMIT_DELAY_SECONDS": "5",
        "SIM_SUBMIT_TIMEOUT_SECONDS": "6",
        "SIM_RECORD_DELAY_SECONDS": "7",
        "SIM_UPGRADE_SECONDS": "11",
        "SIM_QUERIES_PER_SECOND": "12",
        "SIM_CALLBACK_RETRY_SECONDS": "8",
        "SIM_CALLBACK_TIMEOUT_SECONDS": "9",
        "SIM_CREDITS": "10.5",
        "SIM_THROTTLE_FORM": "http-429",
        "SIM_REFERENCE_IMAGE_LIMIT": "8",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    config = Settings().config()

    assert config.api_key.get_secret_value() == "a"
    assert config.hmac_key.get_secret_value() == "b"
    assert (config.sends_per_window, config.send_window_seconds, config.video_seconds) == (1, 2, 3)
    assert (config.late, config.submit_delay_seconds, config.submit_timeout_seconds) == (4, 5, 6)
    assert (config.record_delay_seconds, config.callback_retry_seconds) == (7, 8)
    assert (config.upgrade, config.queries_per_second) == (11, 12)
    assert (config.callback_timeout_seconds, config.credits) == (9, 10.5)
    assert (config.throttle_form, config.reference_image_limit) == ("http-429", 8)


def test_a_client_that_leaves_in_mid_request_is_not_counted_and_not_noisy():
    process, base = start()
    with process:
        wait_until_ready(base)
        address = (httpx.URL(base).host, httpx.URL(base).port)
        with socket.create_connection(address) as half:
            half.sendall(b"POST /api/v1/veo/generate HTTP/1.1\r\nHost: sim\r\nContent-Length: 100\r\n\r\n{")
            assert httpx.get(f"{base}/healthz", trust_env=False).status_code == 200
        assert httpx.get(f"{base}/sim/stats", trust_env=False).json()["sends"] == 0
        process.terminate()
        output, _ = process.communicate(timeout=10)

    assert (process.returncode, output) == (0, "")


def test_a_hanging_answer_does_not_hold_up_a_stop():
    process, base = start()
    with process, concurrent.futures.ThreadPoolExecutor() as pool:
        wait_until_ready(base)
        hanging = pool.submit(
            httpx.post,
            f"{base}/api/v1/veo/generate",
            json={"prompt": "sim:submit-timeout"},
            headers={"Authorization": "Bearer key"},
            trust_env=False,
            timeout=30,
        )
        while httpx.get(f"{base}/sim/tasks", trust_env=False).json()["tasks"] == []:
            assert not hanging.done()
        process.terminate()
        output, _ = process.communicate(timeout=10)
        with pytest.raises(httpx.TransportError):
            hanging.result()

    assert process.returncode == 0
    assert "Traceback" not in output
