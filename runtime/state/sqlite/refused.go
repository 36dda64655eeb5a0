package sqlite

import (
	"context"
	"database/sql/driver"
)

// refused is a connector for a connection string that cannot be one.
type refused struct{ err error }

func (r refused) Connect(context.Context) (driver.Conn, error) { return nil, r.err }
func (r refused) Driver() driver.Driver                        { return nil }
