package config

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/internal/near"
)

// component is Dapr's resource.
type component struct {
	Spec struct {
		Type         string      `yaml:"type"`
		Version      yamlScalar  `yaml:"version"`
		IgnoreErrors bool        `yaml:"ignoreErrors"`
		InitTimeout  string      `yaml:"initTimeout"`
		Metadata     []reference `yaml:"metadata"`
	} `yaml:"spec"`
}

// Property is the value of the metadata called name; case does not count, as
// with Dapr's.
func (c Component) Property(name string) (value string, given bool) {
	if value, given = c.Metadata[name]; given {
		return value, true
	}
	for key, value := range c.Metadata {
		if strings.EqualFold(key, name) {
			return value, true
		}
	}
	return "", false
}

// component reads one resource. A component that cannot be used comes with the
// reason; the error is a mistake in it.
func (s *resolver) component(r *resource) (Component, error) {
	var given component
	if err := r.into(&given); err != nil {
		return Component{}, err
	}
	spec := given.Spec
	c := Component{
		Name: r.head.Metadata.Name, Type: spec.Type, Version: string(spec.Version),
		Metadata: map[string]string{}, IgnoreErrors: spec.IgnoreErrors, At: r.at(),
	}
	switch {
	case c.Name == "":
		return c, r.problem("metadata.name is missing")
	case c.Type == "":
		return c, r.problem("spec.type is missing")
	}
	if spec.InitTimeout != "" {
		d, err := time.ParseDuration(spec.InitTimeout)
		if err != nil || d <= 0 {
			return c, r.problem("spec.initTimeout: %q is not a time such as 5s", spec.InitTimeout)
		}
		c.InitTimeout = d
	}
	c.Unusable, c.Unknown = lacking(c.Type, c.Version)
	if slices.Contains(s.denied, c.Type) || slices.Contains(s.denied, c.Type+"/"+c.Version) {
		c.Unusable, c.Unknown = "the Configuration denies components of type "+c.Type, false
	}
	if c.Unusable != "" {
		return c, nil // what it says is for those who have it
	}
	return s.fillIn(c, r, given)
}

// fillIn resolves the metadata.
func (s *resolver) fillIn(c Component, r *resource, given component) (Component, error) {
	var errs []error
	for i, item := range given.Spec.Metadata {
		if item.Name == "" {
			errs = append(errs, r.problem("spec.metadata[%d] has no name", i))
			continue
		}
		value, err := s.value(r, "metadata "+item.Name, item)
		if err == nil && item.Secret == nil {
			if value, err = s.fill(value); err != nil {
				err = r.problem("metadata %s: %v", item.Name, err)
			}
		}
		if lack, isLack := errors.AsType[lackError](err); isLack {
			c.Unusable = string(lack)
			continue
		}
		if err != nil && c.IgnoreErrors {
			c.Unusable = err.Error()
			continue
		}
		errs = append(errs, err)
		c.Metadata[item.Name] = value
	}
	return c, errors.Join(errs...)
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// implemented are the types of components that exist here, by the names that
// resources call them.
var implemented = []string{
	"state.in-memory", "state.redis", "state.sqlite", typeLocalEnv, typeLocalFile,
	"middleware.http.ratelimit", "middleware.http.routeralias", "middleware.http.routerchecker", "middleware.http.uppercase",
}

// A block is a building block of Dapr's: what its components' types begin with,
// and what its calls answer while it has none of the kind that is asked for.
type block struct{ prefix, answer string }

var blocks = []block{
	{"state.", "calls to it answer ERR_STATE_STORE_NOT_FOUND"},
	{"pubsub.", "publishing to it answers ERR_PUBSUB_NOT_FOUND, and nothing is delivered"},
	{"bindings.", "calls to it answer ERR_INVOKE_OUTPUT_BINDING, and nothing is delivered"},
	{"secretstores.", "its secrets are not there, and calls to it answer ERR_SECRET_STORE_NOT_FOUND"},
	{"configuration.", "calls to it answer ERR_CONFIGURATION_STORE_NOT_CONFIGURED"},
	{"lock.", "calls to it answer ERR_LOCK_STORE_NOT_CONFIGURED"},
	{"crypto.", "calls to it answer ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED"},
	{"conversation.", "calls to it answer ERR_CONVERSATION_NOT_FOUND"},
	{"middleware.http.", "no pipeline can use it"},
	{"nameresolution.", "apps are found as --discovery says"},
}

// lacking says why a type cannot be used, if it cannot, and whether nobody knows
// it, Dapr neither. A type is known by what it begins with: Dapr's list grows,
// and pluggable components make their own.
func lacking(kind, version string) (why string, unknown bool) {
	lower := strings.ToLower(kind)
	for _, have := range implemented {
		if lower != have {
			continue
		}
		if v := strings.ToLower(version); v != "" && v != "v0" && v != "v1" {
			return fmt.Sprintf("%s is known here in version v1, not %s", kind, version), false
		}
		return "", false
	}
	hint := ""
	if meant := near.Match(lower, implemented); meant != "" {
		hint = " (did you mean " + meant + "?)"
	}
	for _, b := range blocks {
		switch {
		case !strings.HasPrefix(lower, b.prefix):
		case isDaprs(b.prefix, lower):
			return "this version has no " + kind + ": " + b.answer, false
		default:
			if meant := near.Match(lower, typesOf(b.prefix)); meant != "" {
				hint = " (did you mean " + meant + "?)"
			}
			return "no component is called " + kind + hint + ": " + b.answer, true
		}
	}
	return "no component is called " + kind + hint, true
}
