-- wrk: every request is a distinct user's grab. User k of a run is k * 2654435761 mod 2^32: a
-- bijection, so that no two are the same and they come in no order. Arguments: path.
local prefix, suffix, k

function init(arguments)
    prefix = "POST " .. arguments[1] .. " HTTP/1.1\r\nHost: " .. wrk.host
        .. "\r\nContent-Length: 0\r\nX-User: "
    suffix = "\r\n\r\n"
    k = 0
end

function request()
    k = k + 1
    return prefix .. string.format("%.0f", k * 2654435761 % 4294967296) .. suffix
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        "RESULT requests=%d seconds=%.6f p50_us=%d p99_us=%d errors=%d non2xx=%d\n",
        summary.requests, summary.duration / 1e6, latency:percentile(50),
        latency:percentile(99), errors.connect + errors.read + errors.write + errors.timeout,
        errors.status))
end
