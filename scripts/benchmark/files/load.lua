-- What wrk sends, and what it says at the end.
--   BENCH_BODY  bytes of each request's body
local size = tonumber(os.getenv("BENCH_BODY") or "54")
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = size == 54 and '{"message":"Todo created: Buy groceries","task_id":"1"}' or string.rep("x", size)

function done(summary, latency)
  local e = summary.errors
  io.write(string.format("bench requests=%d duration=%d failed=%d p50=%.0f p90=%.0f p99=%.0f\n",
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99)))
end
