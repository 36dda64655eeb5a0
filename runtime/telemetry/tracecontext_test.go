package telemetry

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAParentIsReadAsTheStandardSays(t *testing.T) {
	t.Parallel()
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	zeros := strings.Repeat("0", 32)
	for text, ok := range map[string]bool{
		"00-" + trace + "-" + span + "-01":                  true,
		"00-" + trace + "-" + span + "-ff":                  true,
		"cc-" + trace + "-" + span + "-01-what-comes":       true, // a later version
		"cc-" + trace + "-" + span + "-01":                  true,
		"cc-" + trace + "-" + span + "-01.what":             false,
		"00-" + trace + "-" + span + "-01-x":                false,
		"ff-" + trace + "-" + span + "-01":                  false,
		"00-" + zeros + "-" + span + "-01":                  false,
		"00-" + trace + "-" + zeros[:16] + "-01":            false,
		"00-" + strings.ToUpper(trace) + "-" + span + "-01": false,
		"00-" + trace + "-" + span:                          false,
		"00_" + trace + "-" + span + "-01":                  false,
		"":                                                  false,
		"0x-" + trace + "-" + span + "-01":                  false,
	} {
		c, got := parseParent(text)
		if got != ok {
			t.Errorf("%q: read is %v", text, got)
		}
		if got && !strings.HasPrefix(c.String()[2:], text[2:53]) {
			t.Errorf("%q is read as %s", text, c)
		}
	}
}

func TestAPlaceInATraceIsWrittenAsItIsRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var c traceContext
		copy(c.trace[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "trace"))
		copy(c.span[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "span"))
		c.flags = rapid.Byte().Draw(t, "flags")
		text, ok := parseParent(c.String())
		if ok != c.valid() || ok && text != c {
			t.Fatalf("%s is read as %s, %v", c, text, ok)
		}
		bin, ok := parseBinary(c.binary())
		if ok != c.valid() || ok && bin != c {
			t.Fatalf("%s is read as %s, %v", c.binary(), bin, ok)
		}
		if padded, ok := parseBinary(c.binary() + "="); ok && padded != c {
			t.Fatalf("with its padding it is read as %s", padded)
		}
	})
}

func FuzzParseParent(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Fuzz(func(t *testing.T, s string) {
		if c, ok := parseParent(s); ok && !c.valid() {
			t.Errorf("%q is read as %s", s, c)
		}
		if c, ok := parseBinary(s); ok && !c.valid() {
			t.Errorf("%q is read as %s", s, c)
		}
	})
}

func TestRoutesLeaveOutWhatDiffersFromRequestToRequest(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"":                                     "",
		"/":                                    "/",
		"/v1.0/metadata":                       "/v1.0/metadata",
		"/v1.0/state/shop/key/with/slashes":    "/v1.0/state/shop",
		"//v1.0//state//shop//key":             "/v1.0/state/shop",
		"/v1.0/secrets/vault/pin":              "/v1.0/secrets/vault",
		"/v1.0/actors/T/1/timer/x":             "/v1.0/actors/T/{id}/timer",
		"/v1.0/actors/T/1":                     "/v1.0/actors/T/1",
		"actors/T/1/method/go":                 "actors/T/{id}/method/go",
		"/v1.0/workflows/dapr/w/start":         "/v1.0/workflows/dapr/w/start",
		"/v1.0/workflows/dapr/1":               "/v1.0/workflows/dapr/{instanceId}",
		"/v1.0/workflows/dapr/1/pause":         "/v1.0/workflows/dapr/{instanceId}/pause",
		"/v1.0/workflows/dapr/1/raiseEvent/go": "/v1.0/workflows/dapr/{instanceId}/raiseEvent/{eventName}",
		"/v1.0/workflows/dapr/1/other/go":      "/v1.0/workflows/dapr/{instanceId}/other",
		"/v1.0/workflows/dapr":                 "/v1.0/workflows/dapr",
		"/v1.0/invoke/app/method/a/b":          "/v1.0/invoke/app/method/a/b",
		"notify":                               "/notify",
	} {
		if got := Route(path); got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	}
}
