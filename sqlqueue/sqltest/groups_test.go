package sqltest

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/sqlqueue"
)

// A transaction that has read before a group was made stores its events for that
// group too.
func TestTransactionSeesNewGroups(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engine) {
		if e.dialect == sqlqueue.SQLite {
			t.Log("there is one writer: the group waits for the transaction")
			return
		}
		db := e.open(t, e.source(t))
		b := e.broker(t, db, sqlqueue.WithPrefix(newPrefix()))
		d, err := fanfare.New(b)
		require.NoError(t, err)
		require.NoError(t, d.Dispatch(t.Context(), t.Name(), "before"))

		tx, err := db.BeginTx(t.Context(), &sql.TxOptions{})
		require.NoError(t, err)
		defer func() { _ = tx.Rollback() }()
		require.NoError(t, d.DispatchTx(t.Context(), tx, t.Name(), "first"))
		require.NoError(t, tx.Rollback())

		tx, err = db.BeginTx(t.Context(), &sql.TxOptions{})
		require.NoError(t, err)
		var one int
		require.NoError(t, tx.QueryRowContext(t.Context(), "SELECT 1 FROM information_schema.tables LIMIT 1").Scan(&one))
		_, err = d.InTx(tx).Cancel(t.Context(), "another topic", "x") // reads our tables
		require.NoError(t, err)
		require.NoError(t, d.Queue(t.Name(), "late").Create(t.Context()))
		require.NoError(t, d.DispatchTx(t.Context(), tx, t.Name(), "event"))
		require.NoError(t, tx.Commit())
		all, err := d.Queue(t.Name(), "late").Peek(t.Context(), 0, 10)
		require.NoError(t, err)
		require.Len(t, all, 1)
	})
}
