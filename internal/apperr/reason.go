package apperr

// A Reason is why something could not be done, in the words of the structured
// details (google.rpc.ErrorInfo's reason). The table below is the one source
// of each reason's hop, HTTP status, Dapr error code and exit status.
type Reason string

// The reasons. Adding one means adding its row to the table.
const (
	Internal        Reason = "INTERNAL"
	Usage           Reason = "USAGE"
	NoSuchApp       Reason = "NO_SUCH_APP" // a command names an app or run that is not here
	Cancelled       Reason = "CANCELLED"
	OwnConfig       Reason = "CONFIGURATION"
	PortTaken       Reason = "PORT_TAKEN"
	CommandNotFound Reason = "COMMAND_NOT_FOUND"
	NotExecutable   Reason = "COMMAND_NOT_EXECUTABLE"
	OriginDenied    Reason = "ORIGIN_DENIED"
	UserDenied      Reason = "USER_DENIED"
	TokenDenied     Reason = "TOKEN_DENIED"
	TargetMissing   Reason = "APP_ID_MISSING"
	TargetInvalid   Reason = "APP_ID_INVALID"
	MethodRefused   Reason = "METHOD_NOT_SUPPORTED"
	AppNotFound     Reason = "APP_NOT_FOUND"
	DiscoveryFailed Reason = "DISCOVERY_FAILED"
	PeerUnreachable Reason = "PEER_UNREACHABLE"
	PeerGone        Reason = "PEER_GONE" // the connection broke after something was sent
	PeerNotTrusted  Reason = "PEER_NOT_TRUSTED"
	CertNotValid    Reason = "CERTIFICATE_NOT_VALID"
	NamespaceDenied Reason = "NAMESPACE_DENIED"
	AccessDenied    Reason = "ACCESS_DENIED"
	PathAmbiguous   Reason = "PATH_AMBIGUOUS" // a rule could be dodged by the way the path is written
	Refused         Reason = "REFUSED"        // an instance would have to hold the call and is not the only choice, or is leaving
	HoldExceeded    Reason = "HOLD_EXCEEDED"
	AppHasNoPort    Reason = "APP_HAS_NO_PORT"
	AppUnreachable  Reason = "APP_UNREACHABLE"
	AppUnhealthy    Reason = "APP_UNHEALTHY"
	// GRPCAppUnavailable is AppUnreachable or AppGone of an app that speaks gRPC, for a
	// caller that does not: Dapr has another status for it.
	GRPCAppUnavailable Reason = "GRPC_APP_UNAVAILABLE"
	AppGone            Reason = "APP_GONE" // the app closed the connection before its answer was complete
	DeadlineExceeded   Reason = "DEADLINE_EXCEEDED"
	CircuitOpen        Reason = "CIRCUIT_OPEN" // a circuit breaker of a policy lets no call pass
	ProtocolError      Reason = "PROTOCOL_ERROR"
	BodyTooLarge       Reason = "BODY_TOO_LARGE"
	HeadTooLarge       Reason = "HEAD_TOO_LARGE"
)

// row is what follows from a reason.
type row struct {
	hop    Hop
	status int    // HTTP status at a door; Dapr's where Dapr has the case
	code   string // Dapr's errorCode
	exit   int    // status of `pillion invoke` and of the commands
	grpc   uint32 // code of google.rpc at the gRPC door
}

const directInvoke = "ERR_DIRECT_INVOKE"

// gRPC codes, by number so that this package needs no gRPC.
const (
	grpcCanceled          = 1
	grpcUnknown           = 2
	grpcInvalidArgument   = 3
	grpcDeadlineExceeded  = 4
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcInternal          = 13
	grpcUnavailable       = 14
	grpcUnauthenticated   = 16
)

// table follows Dapr's statuses (unknown app, dead app and time-out are 500
// there) and the exit statuses of docs/adr/0002.
var table = map[Reason]row{
	Internal:           {HopSidecar, 500, "ERR_INTERNAL", 1, grpcInternal},
	Usage:              {HopCaller, 400, "ERR_MALFORMED_REQUEST", 2, grpcInvalidArgument},
	NoSuchApp:          {HopCaller, 404, directInvoke, 3, grpcInvalidArgument},
	Cancelled:          {HopCaller, 499, directInvoke, 130, grpcCanceled},
	OwnConfig:          {HopCaller, 500, directInvoke, 78, grpcInternal},
	PortTaken:          {HopSidecar, 500, directInvoke, 1, grpcInternal},
	CommandNotFound:    {HopApp, 500, directInvoke, 127, grpcInternal},
	NotExecutable:      {HopApp, 500, directInvoke, 126, grpcInternal},
	OriginDenied:       {HopSidecar, 403, "ERR_ORIGIN", 74, grpcPermissionDenied},
	UserDenied:         {HopSidecar, 403, "ERR_USER", 74, grpcPermissionDenied},
	TokenDenied:        {HopSidecar, 401, "ERR_TOKEN", 74, grpcUnauthenticated},
	TargetMissing:      {HopSidecar, 404, directInvoke, 2, grpcInvalidArgument},
	TargetInvalid:      {HopSidecar, 500, directInvoke, 2, grpcUnknown},
	MethodRefused:      {HopSidecar, 500, directInvoke, 2, grpcInternal},
	AppNotFound:        {HopDiscovery, 500, directInvoke, 70, grpcUnknown},
	DiscoveryFailed:    {HopDiscovery, 500, directInvoke, 71, grpcUnknown},
	PeerUnreachable:    {HopNetwork, 500, directInvoke, 72, grpcUnavailable},
	PeerGone:           {HopNetwork, 500, directInvoke, 72, grpcUnavailable},
	PeerNotTrusted:     {HopTLS, 500, directInvoke, 73, grpcInternal},
	CertNotValid:       {HopTLS, 500, directInvoke, 73, grpcInternal},
	NamespaceDenied:    {HopAccess, 403, directInvoke, 74, grpcPermissionDenied},
	AccessDenied:       {HopAccess, 403, directInvoke, 74, grpcPermissionDenied},
	PathAmbiguous:      {HopAccess, 403, directInvoke, 74, grpcPermissionDenied},
	Refused:            {HopPeer, 500, directInvoke, 76, grpcUnavailable},
	HoldExceeded:       {HopPeer, 500, directInvoke, 76, grpcUnavailable},
	AppHasNoPort:       {HopApp, 500, directInvoke, 76, grpcInternal},
	AppUnreachable:     {HopApp, 500, directInvoke, 76, grpcUnavailable},
	GRPCAppUnavailable: {HopApp, 503, directInvoke, 76, grpcUnavailable},
	AppUnhealthy:       {HopApp, 500, directInvoke, 76, grpcInternal},
	AppGone:            {HopApp, 500, directInvoke, 76, grpcUnavailable},
	DeadlineExceeded:   {HopApp, 500, directInvoke, 75, grpcDeadlineExceeded},
	CircuitOpen:        {HopSidecar, 500, directInvoke, 76, grpcUnknown},
	ProtocolError:      {HopPeer, 500, directInvoke, 77, grpcInternal},
	BodyTooLarge:       {HopSidecar, 500, directInvoke, 77, grpcResourceExhausted},
	HeadTooLarge:       {HopSidecar, 431, directInvoke, 77, grpcResourceExhausted},
}

func (r Reason) row() row {
	if got, ok := table[r]; ok {
		return got
	}
	return table[Internal]
}

// HTTPStatus is the status an HTTP door answers with.
func (r Reason) HTTPStatus() int { return r.row().status }

// Code is Dapr's errorCode.
func (r Reason) Code() string { return r.row().code }

// ExitStatus is the status a command ends with. `pillion run` uses 125 to 127
// instead.
func (r Reason) ExitStatus() int { return r.row().exit }

// GRPC is the gRPC status code.
func (r Reason) GRPC() uint32 { return r.row().grpc }

// Reasons lists all reasons, for tests and for `pillion help exit-codes`.
func Reasons() []Reason {
	all := make([]Reason, 0, len(table))
	for r := range table {
		all = append(all, r)
	}
	return all
}
