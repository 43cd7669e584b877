"""gRPC in front of the engine; its client: `qwentts_client`.

cli        flags of the commands serve, http
http       HTTP in front of a server, on the light client alone
server     the process: ports, models, drain, watchdog, side port
service    TTSService and VoiceService: one call from config to Summary
admission  access: state, tenants, tokens, limits
voices     the voice catalog: checkpoints and created voices
rpc        one RPC: its status, interceptors, TLS, tracing
wire       the contract's values: requests, responses, formats, limits, errors
telemetry  metrics and logs
host       what the process stands on: memory, output, unsafe settings
recordings callers' recordings: decoded in child processes, checked, bounded
audio      encodings and sample rates of speech
v1         generated
"""

from qwentts_client import __version__ as __version__
