package config

import (
	"errors"
	"fmt"
	"strings"
)

// An HTTPEndpoint is a host outside the mesh that apps call by a name.
type HTTPEndpoint struct {
	Name string
	// BaseURL is what calls begin with.
	BaseURL string
	// Headers are set on each call, in place of what the app sent.
	Headers []EndpointHeader
	TLS     ClientTLS
	// Unusable is why it cannot be called by this version; "" if it can.
	Unusable string
	// At is the file and line it stands in.
	At string
}

// An EndpointHeader is a field that is set on each call.
type EndpointHeader struct{ Name, Value string }

// ClientTLS is how a host is verified, and how it can verify us. All are PEM;
// empty: the system's roots, no certificate.
type ClientTLS struct {
	RootCA, Certificate, PrivateKey string
	// Renegotiation is never, once or freely. Empty: never.
	Renegotiation string
}

// What spec.clientTLS.renegotiation may be.
var renegotiations = map[string]string{
	"": "", "RenegotiateNever": "never", "RenegotiateOnceAsClient": "once", "RenegotiateFreelyAsClient": "freely",
}

// httpEndpoint is Dapr's resource.
type httpEndpoint struct {
	Spec struct {
		BaseURL string `yaml:"baseUrl"`
		Headers []struct {
			Name   string     `yaml:"name"`
			Value  yamlScalar `yaml:"value"`
			EnvRef string     `yaml:"envRef"`
			Secret *secretRef `yaml:"secretKeyRef"`
		} `yaml:"headers"`
		ClientTLS struct {
			RootCA        yamlSecret `yaml:"rootCA"`
			Certificate   yamlSecret `yaml:"certificate"`
			PrivateKey    yamlSecret `yaml:"privateKey"`
			Renegotiation yamlChoice `yaml:"renegotiation"`
		} `yaml:"clientTLS"`
	} `yaml:"spec"`
}

type secretRef struct {
	Name string `yaml:"name"`
	Key  string `yaml:"key"`
}

// A yamlSecret is a value or where it is kept.
type yamlSecret struct {
	Value  yamlScalar `yaml:"value"`
	Secret *secretRef `yaml:"secretKeyRef"`
}

// A yamlScalar is any scalar as text.
type yamlScalar string

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (s *yamlScalar) UnmarshalYAML(read func(any) error) error {
	var v any
	if err := read(&v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
	case string:
		*s = yamlScalar(v)
	case []any, map[string]any:
		return errors.New("a single value is expected")
	default:
		*s = yamlScalar(fmt.Sprint(v))
	}
	return nil
}

// A yamlChoice is a word, by itself or as the value of a mapping, as Dapr's
// documentation has it both ways.
type yamlChoice string

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (c *yamlChoice) UnmarshalYAML(read func(any) error) error {
	var word string
	if read(&word) == nil {
		*c = yamlChoice(word)
		return nil
	}
	var wrapped struct {
		Value string `yaml:"value"`
	}
	err := read(&wrapped)
	*c = yamlChoice(wrapped.Value)
	return err
}

// HTTPEndpoints reads the HTTPEndpoint resources of c's app from paths, as
// ResourcePaths has them. Everything wrong is reported, joined.
func (c Sidecar) HTTPEndpoints(paths []string, getenv func(string) string) ([]HTTPEndpoint, error) {
	found, err := resources(paths, "HTTPEndpoint")
	errs := []error{err}
	at := map[string]string{}
	var all []HTTPEndpoint
	for _, r := range found {
		if !r.isFor(c.AppID, c.Namespace) {
			continue
		}
		e, err := r.endpoint(getenv)
		if before := at[e.Name]; err == nil && before != "" {
			err = r.problem("it is defined at %s, too", before)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		at[e.Name] = e.At
		all = append(all, e)
	}
	return all, errors.Join(errs...)
}

// endpoint reads one resource.
func (r *resource) endpoint(getenv func(string) string) (HTTPEndpoint, error) {
	var given httpEndpoint
	if err := r.into(&given); err != nil {
		return HTTPEndpoint{}, err
	}
	spec := given.Spec
	e := HTTPEndpoint{Name: r.head.Metadata.Name, BaseURL: spec.BaseURL, At: r.at()}
	switch {
	case e.Name == "":
		return e, r.problem("metadata.name is missing")
	case e.BaseURL == "":
		return e, r.problem("spec.baseUrl is missing")
	}
	for i, h := range spec.Headers {
		value := string(h.Value)
		switch {
		case h.Name == "":
			return e, r.problem("spec.headers[%d] has no name", i)
		case h.Secret != nil:
			e.lack("spec.headers " + h.Name)
		case h.EnvRef != "" && !mayRefer(h.EnvRef):
			return e, r.problem("the header %s may not be the environment's %s: tokens and Dapr's own variables stay here", h.Name, h.EnvRef)
		case h.EnvRef != "":
			value = getenv(h.EnvRef)
		}
		e.Headers = append(e.Headers, EndpointHeader{h.Name, value})
	}
	renegotiation, known := renegotiations[string(spec.ClientTLS.Renegotiation)]
	if !known {
		return e, r.problem("spec.clientTLS.renegotiation %q is not RenegotiateNever, RenegotiateOnceAsClient or RenegotiateFreelyAsClient",
			spec.ClientTLS.Renegotiation)
	}
	e.TLS = ClientTLS{
		RootCA:        e.secret("rootCA", spec.ClientTLS.RootCA),
		Certificate:   e.secret("certificate", spec.ClientTLS.Certificate),
		PrivateKey:    e.secret("privateKey", spec.ClientTLS.PrivateKey),
		Renegotiation: renegotiation,
	}
	return e, nil
}

func (e *HTTPEndpoint) secret(name string, given yamlSecret) string {
	if given.Secret != nil {
		e.lack("spec.clientTLS." + name)
	}
	return string(given.Value)
}

// lack notes that the endpoint needs a secret store.
func (e *HTTPEndpoint) lack(what string) {
	e.Unusable = what + " is in a secret store (secretKeyRef), and this version has no secret stores"
}

// mayRefer reports whether a resource may take a variable of the environment:
// what Dapr keeps back, we keep back.
func mayRefer(name string) bool {
	upper := strings.ToUpper(name)
	return upper != "APP_API_TOKEN" && !strings.HasPrefix(upper, "DAPR_") &&
		!strings.HasPrefix(upper, "PILLION_") && !strings.ContainsAny(name, " =")
}
