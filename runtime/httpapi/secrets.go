package httpapi

import (
	"net/http"

	"github.com/pillion-dev/pillion/runtime/h1"
)

func (q *apiRequest) getSecret() h1.Reply {
	values, err := q.cfg.Secrets.Get(q.param("store"), q.param("key"))
	if err != nil {
		return blockError(err)
	}
	return encoded(http.StatusOK, nil, values)
}

func (q *apiRequest) bulkGetSecret() h1.Reply {
	all, err := q.cfg.Secrets.Bulk(q.param("store"))
	if err != nil {
		return blockError(err)
	}
	return encoded(http.StatusOK, nil, all)
}
