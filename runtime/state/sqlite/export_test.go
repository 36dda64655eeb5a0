package sqlite

import "context"

// SetNetwork replaces what tells network file systems.
func SetNetwork(s *Store, network func(string) (string, bool)) { s.network = network }

// Lock takes the file as a writer does, until release.
func Lock(ctx context.Context, s *Store) (release func() error, err error) {
	f, err := s.opened(ctx)
	if err != nil {
		return nil, err
	}
	tx, err := f.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	return tx.Rollback, nil
}

// Rows counts what is in the table, expired or not.
func Rows(ctx context.Context, s *Store) (int, error) {
	f, err := s.opened(ctx)
	if err != nil {
		return 0, err
	}
	var n int
	err = f.read.QueryRowContext(ctx, "SELECT count(*) FROM "+f.cfg.Table).Scan(&n)
	return n, err
}

// Check has SQLite look for damage.
func Check(ctx context.Context, s *Store) (string, error) {
	f, err := s.opened(ctx)
	if err != nil {
		return "", err
	}
	var verdict string
	err = f.read.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&verdict)
	return verdict, err
}
