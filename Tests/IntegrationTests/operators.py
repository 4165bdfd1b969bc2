"""How the tests call operators' subcommands: the one place that knows their options."""

import json

from node import downpour


def admin_url(node):
    return f"http://127.0.0.1:{node.port('admin')}"


def operate(node, *words, env=None, check=True):
    """An operators' subcommand against a running node, for example `rain show ID`."""
    result = downpour(*words, "--admin", admin_url(node), env=env)
    if check:
        assert result.returncode == 0, f"{words}: {result.returncode}: {result.stderr}"
    return result


def operate_json(node, *words, **rest):
    return json.loads(operate(node, *words, "--json", **rest).stdout)


def audit(node, *options):
    """`downpour audit` over a node's data directory; the node may be running or not."""
    return downpour("audit", "--data", node.data, *options, timeout=120)
