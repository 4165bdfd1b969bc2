-- POST /v1/rains/ID/grab over Redis: the same request, semantics and JSON as Downpour's.
local redis = require "nginx.redis"

local user = ngx.var.http_x_user
if not user or not string.find(user, "^%d+$") then
    ngx.status = 401
    return ngx.exit(401)
end
local client = redis:new()
client:set_timeout(5000)
local connected, problem = client:connect("127.0.0.1", tonumber(ngx.var.redis_port))
if not connected then
    ngx.log(ngx.ERR, "redis: ", problem)
    return ngx.exit(503)
end
local now = string.format("%d", ngx.now() * 1000)
local answer, failure = client:evalsha(
    ngx.var.script_sha, 2, "packets", "claims", user, now)
if not answer then
    ngx.log(ngx.ERR, "redis: ", failure)
    return ngx.exit(504)
end
client:set_keepalive(60000, 128)
local outcome, claim = answer[1], answer[2]
if outcome == "soldout" then
    local body = '{"outcome":"soldout","now":' .. now .. '}'
    ngx.header["Content-Length"] = #body
    return ngx.print(body)
end
local amount, packet, at = string.match(claim, "^(%d+):(%d+):(%d+)$")
local body = '{"outcome":"granted","amount":' .. amount .. ',"packet":' .. packet
    .. ',"at":' .. at .. ',"now":' .. now
    .. (outcome == "repeat" and ',"replayed":true}' or '}')
ngx.header["Content-Length"] = #body
ngx.print(body)
