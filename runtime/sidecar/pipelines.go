package sidecar

import (
	"errors"
	"strings"

	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/middleware"
)

// harmless are the middlewares that refuse nobody: without them a call is
// answered as it would have been, or not at all.
var harmless = map[string]bool{
	"middleware.http.uppercase": true, "middleware.http.routeralias": true, "middleware.http.oauth2clientcredentials": true,
}

// judgePipelines makes the httpPipeline, and judges the handlers that do not
// exist here: those for the app's side are none. Dapr leaves one out whose
// component is not there, and so do we. One that is there may keep somebody out:
// that is not left out unseen.
func (r *resources) judgePipelines() error {
	var chain []middleware.Handler
	var errs []error
	for _, h := range r.Configuration.HTTPPipeline {
		c := r.component(h.Name)
		if c == nil || !strings.EqualFold(c.Type, h.Type) || c.Unusable != "" || !middleware.Known(c.Type) {
			errs = append(errs, r.leaveOut(h, c, "this version has no "+h.Type))
			continue
		}
		one, err := middleware.New(*c)
		if err != nil {
			errs = append(errs, wrong(c.At, "the component "+c.Name+": "+err.Error()))
			continue
		}
		chain = append(chain, one)
	}
	for _, h := range r.Configuration.AppHTTPPipeline {
		errs = append(errs, r.leaveOut(h, r.component(h.Name), "this version has no middlewares before the app"))
	}
	r.pipeline = middleware.Chain(chain)
	return errors.Join(errs...)
}

// leaveOut judges a handler that is not there, though its component c may be.
func (r *resources) leaveOut(h config.Handler, c *config.Component, why string) error {
	handler := "the handler " + h.Name + " (" + h.Type + ")"
	switch {
	case c == nil || !strings.EqualFold(c.Type, h.Type):
		r.doubt(h.At + ": " + handler + " is left out: there is no such component")
	case harmless[strings.ToLower(h.Type)] || c.IgnoreErrors:
		r.doubt(h.At + ": " + handler + " is left out: " + why)
	default:
		e := wrong(h.At, handler+" may refuse requests, and "+why+": without it they would pass")
		e.Hint = "take it out of the pipeline, or set ignoreErrors: true at " + c.At + " to run without it"
		return e
	}
	return nil
}
