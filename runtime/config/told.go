package config

import (
	"errors"
	"strings"
)

// Resources are what Dapr's resource files say to one app: a snapshot, which
// nobody changes. It is never printed: it holds secrets.
type Resources struct {
	// Components are all of the app's, in the order of the files. Those that
	// cannot be used say why.
	Components    []Component
	HTTPEndpoints []HTTPEndpoint
	Resiliencies  []Resiliency
	// SecretStores are those of the components that can be used.
	SecretStores []*SecretStore
}

// Resources reads Dapr's resources of c's app from paths, as ResourcePaths has
// them. Components of the types denied, or type/version, cannot be used.
// Everything wrong is reported, joined, with file and line; what is right is
// returned all the same.
func (c Sidecar) Resources(paths []string, getenv func(string) string, denied ...string) (Resources, error) {
	all, err := readAll(paths)
	errs := []error{err}
	mine := c.choose(all, &errs)
	s := &resolver{
		app: c.AppID, namespace: c.Namespace, getenv: getenv, denied: denied,
		components: map[string]*resource{}, opened: map[string]*opened{},
	}
	for _, r := range mine {
		if r.head.Kind == kindComponent {
			s.components[r.head.Metadata.Name] = r
		}
	}
	var told Resources
	for _, r := range mine {
		errs = append(errs, told.add(r, s))
	}
	return told, errors.Join(errs...)
}

// choose takes the app's resources, and reports those of one kind and name.
func (c Sidecar) choose(all []*resource, errs *[]error) []*resource {
	var mine []*resource
	at := map[string]string{}
	for _, r := range all {
		if !r.isFor(c) {
			continue
		}
		if before := at[r.name()]; before != "" && r.head.Metadata.Name != "" {
			*errs = append(*errs, r.problem("it is defined at %s, too", before))
			continue
		}
		at[r.name()] = r.at()
		mine = append(mine, r)
	}
	return mine
}

func (t *Resources) add(r *resource, s *resolver) error {
	switch r.head.Kind {
	case kindComponent:
		return t.addComponent(r, s)
	case kindHTTPEndpoint:
		e, err := s.endpoint(r)
		if err == nil {
			t.HTTPEndpoints = append(t.HTTPEndpoints, e)
		}
		return err
	case kindResiliency:
		one, err := r.resiliency()
		if err == nil {
			t.Resiliencies = append(t.Resiliencies, one)
		}
		return err
	}
	return nil
}

func (t *Resources) addComponent(r *resource, s *resolver) error {
	c, err := s.component(r)
	if err != nil {
		return err
	}
	if c.Unusable == "" && strings.HasPrefix(strings.ToLower(c.Type), "secretstores.") {
		store, err := s.store(c.Name)
		switch {
		case err == nil:
			t.SecretStores = append(t.SecretStores, store)
		case c.IgnoreErrors:
			c.Unusable = err.Error()
		default:
			return r.problem("%v", err)
		}
	}
	t.Components = append(t.Components, c)
	return nil
}
