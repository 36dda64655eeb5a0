package config

import (
	"errors"
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
		BaseURL   string      `yaml:"baseUrl"`
		Headers   []reference `yaml:"headers"`
		ClientTLS struct {
			RootCA        yamlSecret `yaml:"rootCA"`
			Certificate   yamlSecret `yaml:"certificate"`
			PrivateKey    yamlSecret `yaml:"privateKey"`
			Renegotiation yamlChoice `yaml:"renegotiation"`
		} `yaml:"clientTLS"`
	} `yaml:"spec"`
}

// A yamlSecret is a value or where it is kept.
type yamlSecret struct {
	Value  yamlValue  `yaml:"value"`
	Secret *secretRef `yaml:"secretKeyRef"`
}

// endpoint reads one resource.
func (s *resolver) endpoint(r *resource) (HTTPEndpoint, error) {
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
	renegotiation, known := renegotiations[string(spec.ClientTLS.Renegotiation)]
	if !known {
		return e, r.problem("spec.clientTLS.renegotiation %q is not RenegotiateNever, RenegotiateOnceAsClient or RenegotiateFreelyAsClient",
			spec.ClientTLS.Renegotiation)
	}
	e.TLS.Renegotiation = renegotiation
	var errs []error
	take := func(what string, ref reference) string {
		value, err := s.value(r, what, ref)
		if lack, isLack := errors.AsType[lackError](err); isLack {
			e.Unusable, err = string(lack), nil
		}
		errs = append(errs, err)
		return value
	}
	for i, h := range spec.Headers {
		if h.Name == "" {
			return e, r.problem("spec.headers[%d] has no name", i)
		}
		e.Headers = append(e.Headers, EndpointHeader{h.Name, take("the header "+h.Name, h)})
	}
	for _, one := range []struct {
		name  string
		given yamlSecret
		to    *string
	}{
		{"rootCA", spec.ClientTLS.RootCA, &e.TLS.RootCA},
		{"certificate", spec.ClientTLS.Certificate, &e.TLS.Certificate},
		{"privateKey", spec.ClientTLS.PrivateKey, &e.TLS.PrivateKey},
	} {
		*one.to = take("spec.clientTLS."+one.name, reference{Value: one.given.Value, Secret: one.given.Secret})
	}
	return e, errors.Join(errs...)
}
