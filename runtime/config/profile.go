package config

// A Profile is what differs between the ways to run a sidecar. `pillion run`
// is safe by default; `pillion sidecar` is what tools start in daprd's place
// (docs/adr, "Two ways to run").
type Profile struct {
	// Name is the command: run or sidecar.
	Name string
	// LoopbackDoors binds the doors to loopback only. Otherwise they listen
	// where Dapr's flag says.
	LoopbackDoors bool
	// OwnUserDoors takes connections of this user and root only.
	OwnUserDoors bool
	// SecureMesh takes and makes nothing but mutual TLS.
	SecureMesh bool
	// HeadLimit and HeldBodyLimit are bytes; streamed bodies have no limit.
	HeadLimit     int
	HeldBodyLimit int64
	// MetricsPort is where metrics are served; 0 serves none.
	MetricsPort uint16
	// AsDaprd begins, tells of itself and stops as daprd does: its log records
	// on stdout in place of our few lines on stderr, its order, its variables.
	AsDaprd bool
	// HangupRestarts makes SIGHUP restart the runtime in place of stopping.
	HangupRestarts bool
	// HomeResources reads the home's resources where no flag names any.
	HomeResources bool
	// StrictComponents refuses to start with a component of a type that nobody
	// knows.
	StrictComponents bool
}

// Limits of both profiles, as docs/limits.md has them.
const (
	headLimit     = 64 << 10
	heldBodyLimit = 4 << 20
	metricsPort   = 9090
)

// RunProfile is the profile of `pillion run`.
func RunProfile() Profile {
	return Profile{
		Name: "run", LoopbackDoors: true, OwnUserDoors: true, SecureMesh: true,
		HeadLimit: headLimit, HeldBodyLimit: heldBodyLimit, HomeResources: true,
	}
}

// SidecarProfile is the profile of `pillion sidecar`, daprd's stand-in.
func SidecarProfile() Profile {
	return Profile{
		Name: "sidecar", HeadLimit: headLimit, HeldBodyLimit: heldBodyLimit,
		MetricsPort: metricsPort, AsDaprd: true, HangupRestarts: true, StrictComponents: true,
	}
}
