"""A server of several processes.

Fronts, an engine process a GPU, a supervisor.
`supervisor` starts and watches the others (`child`); `front` and `engine` are what runs in them, `worker` their entry;
`control` has the messages between, `layout` says which processes there are.
"""
