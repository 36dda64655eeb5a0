package rpc

import (
	"strings"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// protobufType is the content type of a body that is a message of a known type.
const protobufType = "application/x-protobuf"

// A Request is Dapr's common.v1.InvokeRequest.
type Request struct {
	Method      string
	TypeURL     string // the type of the message that Data is; "" for plain bytes
	Data        []byte
	ContentType string
	// Extended is true if the caller said something about HTTP: Verb, with "" or
	// VerbNone for none, and Query.
	Extended    bool
	Verb, Query string
}

// Marshal is the request as gRPC sends it. Verbs that Dapr has no number for
// become POST, as they do there.
func (r *Request) Marshal() ([]byte, error) {
	m := &commonv1.InvokeRequest{
		Method: r.Method, ContentType: r.ContentType,
		Data: &anypb.Any{TypeUrl: r.TypeURL, Value: r.Data},
	}
	if r.Extended {
		verb, ok := commonv1.HTTPExtension_Verb_value[strings.ToUpper(r.Verb)]
		if !ok {
			verb = int32(commonv1.HTTPExtension_POST)
		}
		m.HttpExtension = &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_Verb(verb), Querystring: r.Query}
	}
	return proto.Marshal(m)
}

// A Response is Dapr's common.v1.InvokeResponse.
type Response struct {
	Data        []byte
	ContentType string // of Data over HTTP
}

// Unmarshal reads what an app answered.
func (r *Response) Unmarshal(message []byte) error {
	var m commonv1.InvokeResponse
	if err := proto.Unmarshal(message, &m); err != nil {
		return err
	}
	r.Data, r.ContentType = m.GetData().GetValue(), m.GetContentType()
	if m.GetData().GetTypeUrl() != "" {
		r.ContentType = protobufType
	}
	return nil
}
