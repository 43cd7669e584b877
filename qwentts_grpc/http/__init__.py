"""OpenAI's speech endpoint in front of a server, a page.

A process of its own on the light client; needs the extra `http`.

process    one process: socket, uvicorn, signals
app        the routes, the headers of every response
guards     which hosts, which origins may call
speech     POST /v1/audio/speech
fields     the fields of its body, checked
delivery   audio of one turn into one response
voices     /v1/audio/voices
models     /v1/models
status     /livez, /healthz, /status
live       a WebSocket: text in, audio out
page       the page's files
formats    the six formats, encoders on the way
libav      encoding, tempo by PyAV
calls      open turns of the process, bounded
callers    a client for the caller's token
bodies     request bodies, bounded
errors     errors in OpenAI's shape
settings   everything that flags set
"""
