package invoke

import (
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
)

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

// OverHTTP makes c what a callee that speaks HTTP may get, or returns why it
// cannot be: InvokeService can leave the verb out, its body can have a type
// that HTTP calls by another name, and its metadata can be bytes, which have no
// place in a header.
func (c *Call) OverHTTP() *apperr.Error {
	if c.RPC == nil {
		return nil
	}
	if c.Verb == VerbNone {
		return c.noVerb()
	}
	fields := make(Fields, 0, len(c.Fields))
	for _, f := range c.Fields {
		if name := f.Name; len(name) < len(binarySuffix) || !strings.EqualFold(name[len(name)-len(binarySuffix):], binarySuffix) {
			fields = append(fields, f)
		}
	}
	if c.RPC.TypeURL != "" {
		fields.Set("Content-Type", "application/x-protobuf")
	}
	c.Fields = fields
	return nil
}

// binarySuffix ends the names of gRPC's metadata that are bytes.
const binarySuffix = "-bin"

func (c *Call) noVerb() *apperr.Error {
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
