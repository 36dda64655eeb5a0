package config

// DefaultFile is the config.yaml that `pillion init` makes: every key with its
// default, as a comment, so that it says what can be said and changes nothing.
func DefaultFile() []byte { return []byte(defaultFile) }

const defaultFile = `# Settings of pillion. A flag beats the environment, the environment beats this
# file. Every line shows the default; remove the # to change it.

# The group of apps that find each other by bare name.
#namespace: default

# How apps find each other: on this machine, by mDNS, by the peers below.
#discovery: [local, mdns, static]
# Also on the local network, not only on this machine.
#lan: false
# Static peers, as [app-id=]host:port.
#peers: []

# How long to look for a name nobody has seen, and to wait for a known app
# that is away or is just starting.
#resolveTimeout: 1s
#hold: 10s
#startHold: 60s
# Everything stopping may take.
#grace: 10s

# Of apps that are run with a command: restart them when files change (true is
# the app's folder, or a list of paths), what the shell builds before each
# start, and when to start an app again that ended: no, on-failure or always.
#watch: false
#build: ""
#restart: no

# Where the built-in state store keeps its items; empty: in this folder.
#state: ""

# Who may use the HTTP door beside this user's own programs.
#allowedOrigins: []
#allowedHosts: []
#allowOtherUsers: false

# debug, info, warn or error
#logLevel: info
#enableApiLogging: false

# What is kept of what apps say, at most. The oldest goes first.
#logs:
#  perRun: 64MiB
#  total: 1GiB
`
