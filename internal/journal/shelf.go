package journal

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
)

// shelf is the log's files in the database, by path, so that any gateway can go on
// sealing and any reader can prove. The checkpoint that the database keeps is the
// published one.
type shelf struct {
	db   *sql.DB
	seat *sharedSeat // through which it is written; nil where it is only read
}

var errReadOnly = errors.New("the log is only read here")

func (shelf) String() string { return "the database" }
func (shelf) cure() string   { return "restore the newest backup of the database" }

func (s shelf) read(ctx context.Context, path string) (data []byte, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT data FROM tile WHERE path = $1`, path).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	}
	return data, err
}

func (s shelf) write(ctx context.Context, files []file) error {
	if s.seat == nil {
		return errReadOnly
	}
	paths, data := make([]string, len(files)), make([][]byte, len(files))
	for i, f := range files {
		paths[i], data[i] = f.path, f.data
	}
	return s.seat.do(ctx, func(ctx context.Context, l *session) error {
		_, err := l.Exec(ctx, `INSERT INTO tile (path, data) SELECT * FROM unnest($1::text[], $2::bytea[])
			ON CONFLICT (path) DO UPDATE SET data = excluded.data`, paths, data)
		return err
	})
}

func (s shelf) published(ctx context.Context) (note []byte, err error) {
	if err = s.db.QueryRowContext(ctx, `SELECT note FROM checkpoint WHERE one = 1`).Scan(&note); len(note) == 0 {
		note = nil
	}
	return note, err
}

// publish has nothing to do: what was kept is what readers see.
func (s shelf) publish(context.Context, []byte) error { return nil }

func (s shelf) remove(ctx context.Context, paths []string) error {
	if s.seat == nil {
		return errReadOnly
	}
	return s.seat.do(ctx, func(ctx context.Context, l *session) error {
		// A range of the index for each: below a path's ".p/" there is nothing else.
		_, err := l.Exec(ctx, `DELETE FROM tile USING unnest($1::text[]) AS whole (path)
			WHERE tile.path > whole.path || '.p/' AND tile.path < whole.path || '.p0'`, paths)
		return err
	})
}
