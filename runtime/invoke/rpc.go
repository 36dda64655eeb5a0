package invoke

import "github.com/pillion-dev/pillion/internal/apperr"

// An RPC is what a call of Dapr's InvokeService says that HTTP has no place
// for.
type RPC struct {
	// TypeURL is the type of the message that the body is; "" for plain bytes.
	TypeURL string
	// Extended is true if the caller said anything about HTTP.
	Extended bool
}

// VerbNone is the verb of a call whose caller gave none, which only gRPC's can.
const VerbNone = "NONE"

// NeedsVerb returns why c cannot be carried out by who speaks HTTP, or nil.
func (c *Call) NeedsVerb() *apperr.Error {
	if c.RPC == nil || c.Verb != VerbNone {
		return nil
	}
	e := &apperr.Error{
		Reason: apperr.MethodRefused, What: "the call names no HTTP verb, and " + c.Target.name() + " speaks HTTP",
		Dapr:    "rpc error: code = InvalidArgument desc = invalid HTTP verb",
		Hint:    "set http_extension.verb",
		Reached: apperr.ReachedNo,
	}
	if !c.RPC.Extended {
		e.Dapr = "rpc error: code = InvalidArgument desc = missing HTTP extension field"
	}
	return e
}
