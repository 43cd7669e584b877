"""A fleet of servers on Ray: placed, watched, drained, scaled.

Audio never passes through Ray: callers reach the servers through HAProxy, which passes their connections on.

    settings    what a fleet is, from a TOML file
    load        what one server has to do, from its metrics
    scaling     how many servers that asks for
    process     one server process, started again when it ends
    server      the Ray actor of one server
    haproxy     HAProxy's configuration and its runtime commands
    balancer    the Ray actor of one HAProxy
    controller  the Ray actor that keeps the fleet as it should be
"""
