package daprerr_test

import (
	"encoding/json"
	"testing"

	"github.com/pillion-dev/pillion/internal/daprerr"
)

// What Dapr 1.18 writes: fields by name, none left out but details as a whole.
func TestBodyIsDaprsToTheByte(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		about string
		err   daprerr.Error
		want  string
	}{
		{"basic", daprerr.Error{Code: "ERR_X", Message: "m"}, `{"errorCode":"ERR_X","message":"m"}`},
		{
			"with an info that has no metadata",
			daprerr.Error{Code: "ERR_X", Message: "m", Info: &daprerr.Info{Reason: "R"}},
			`{"errorCode":"ERR_X","message":"m","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":null,"reason":"R"}]}`,
		},
		{
			"with everything",
			daprerr.Error{
				Code: "ERR_X", Message: "m", Info: &daprerr.Info{Reason: "R", Metadata: map[string]string{"b": "2", "a": "1"}},
				Resource: &daprerr.Resource{Type: "state", Name: "s"}, Violations: []daprerr.Violation{{Field: "f", Description: "d"}},
			},
			`{"errorCode":"ERR_X","message":"m","details":[` +
				`{"@type":"type.googleapis.com/google.rpc.BadRequest","field_violations":[{"field":"f","description":"d"}]},` +
				`{"@type":"type.googleapis.com/google.rpc.ResourceInfo","description":"","owner":"","resource_name":"s","resource_type":"state"},` +
				`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{"a":"1","b":"2"},"reason":"R"}]}`,
		},
	} {
		got, err := json.Marshal(c.err.Body())
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v\nwant %s", c.about, got, err, c.want)
		}
	}
}
