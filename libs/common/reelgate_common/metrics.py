"""Every metric of the gateway, in one place, so that names stay consistent."""

from prometheus_client import Counter, Gauge

job_steps = Counter("reelgate_job_steps_total", "Timeline entries written, by step.", ["step"])
sends = Counter(
    "reelgate_sends_total", "Calls that start a job at Kie.ai, by operation and outcome.", ["operation", "outcome"]
)
vendor_answers = Counter("reelgate_vendor_answers_total", "Answers of Kie.ai, by call and class.", ["call", "kind"])
callbacks = Counter("reelgate_callbacks_total", "Webhooks received from Kie.ai, by what became of them.", ["result"])
messages = Counter("reelgate_messages_total", "Messages handled, by queue and end.", ["queue", "end"])
published = Counter("reelgate_outbox_published_total", "Outbox rows confirmed by the broker.", ["routing_key"])
publish_failures = Counter("reelgate_outbox_failures_total", "Outbox rows that stayed.", ["routing_key"])
refunds = Counter("reelgate_refunds_total", "Refunds written.")
late_successes = Counter("reelgate_late_successes_total", "Videos that came after the job was over.", ["given"])
duplicate_deliveries = Counter("reelgate_duplicate_deliveries_total", "Second videos for one job.")
breaker_open = Gauge("reelgate_breaker_open", "1 while vendor trouble stops all sends.")
sends_paused = Gauge("reelgate_sends_paused", "1 while an operator has stopped all sends.")
loop_failures = Counter("reelgate_loop_failures_total", "Passes of a periodic task that crashed.", ["task"])
result_hosts_refused = Counter("reelgate_result_hosts_refused_total", "Results on a host RESULT_URL_HOSTS leaves out.")
ledger_drift = Gauge("reelgate_ledger_drift", "Findings of the running audit's last pass, by rule.", ["rule"])
queries_put_off = Counter("reelgate_queries_put_off_total", "Questions to Kie.ai that found no place in its limit.")
vendor_credits = Counter(
    "reelgate_vendor_credits_total", "What sends should cost at Kie.ai, in its credits, by outcome.", ["outcome"]
)
vendor_balance = Gauge("reelgate_vendor_balance_credits", "What is left on the account at Kie.ai, as last seen.")
vendor_balance_low = Gauge("reelgate_vendor_balance_low", "1 while that is less than KIE_LOW_BALANCE.")
vendor_capped = Gauge("reelgate_vendor_spend_capped", "1 while today's KIE_DAILY_CREDITS stop all sends.")
webhook_attempts = Counter(
    "reelgate_webhook_attempts_total", "Outgoing webhooks sent, by what came of it.", ["outcome"]
)
webhooks_given_up = Counter("reelgate_webhooks_given_up_total", "Outgoing webhooks whose last try failed.")
webhook_endpoints_disabled = Counter(
    "reelgate_webhook_endpoints_disabled_total", "Endpoints that were given up, by reason.", ["reason"]
)
webhook_queue_age = Gauge("reelgate_webhook_queue_seconds", "How long the outgoing webhook that waits longest is due.")
live_streams = Gauge("reelgate_live_streams", "Live streams and long polls that are open.")
live_reads = Counter("reelgate_live_reads_total", "Queries for what open streams wait for, however many they are.")
