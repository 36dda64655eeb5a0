package apperr

import "strconv"

// Domain is the domain of our ErrorInfo details.
const Domain = "pillion.dev"

// A Detail is one entry of Dapr's `details` list: a google.rpc.ErrorInfo in
// its JSON form. The gRPC door puts the same facts into the status.
type Detail struct {
	Type     string            `json:"@type"`
	Reason   Reason            `json:"reason"`
	Domain   string            `json:"domain"`
	Metadata map[string]string `json:"metadata"`
}

// Body is an error in Dapr's JSON shape.
type Body struct {
	ErrorCode string   `json:"errorCode"`
	Message   string   `json:"message"`
	Details   []Detail `json:"details,omitempty"`
}

// Details says reason, hop, cause and hint once more, structured.
func (e *Error) Details() []Detail {
	meta := map[string]string{
		"hop":     string(e.At()),
		"reached": e.Reached.String(),
	}
	for key, value := range map[string]string{
		"cause": e.Cause, "hint": e.Hint, "instance": e.Instance, "attempts": e.attempts(),
	} {
		if value != "" {
			meta[key] = value
		}
	}
	return []Detail{{
		Type:     "type.googleapis.com/google.rpc.ErrorInfo",
		Reason:   e.Reason,
		Domain:   Domain,
		Metadata: meta,
	}}
}

// InvokeBody is e as the answer to a failed invocation of the app called id,
// in Dapr's template. Dapr gives some errors, such as a missing app id,
// without the template; so do we.
func (e *Error) InvokeBody(id string) Body {
	message := e.Message()
	switch e.Reason {
	case TargetMissing, OriginDenied, UserDenied, TokenDenied:
	case AccessDenied, NamespaceDenied, PathAmbiguous:
		message = "failed to invoke, id: " + id + ", err: rpc error: code = PermissionDenied desc = " + message
	default:
		message = "failed to invoke, id: " + id + ", err: " + message
	}
	return Body{ErrorCode: e.Reason.Code(), Message: message, Details: e.Details()}
}

// attempts is the number of attempts in words; "" for one.
func (e *Error) attempts() string {
	if e.Attempts < 2 {
		return ""
	}
	return strconv.Itoa(e.Attempts)
}
