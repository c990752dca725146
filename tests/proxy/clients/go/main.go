// SPDX-License-Identifier: Apache-2.0

// pgx as a client: what a PostgreSQL server can be asked, and what came of it,
// on standard output. Where to connect comes from PGHOST and the like. Expects
// schema.sql.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

var background = context.Background()

func title(text string) {
	fmt.Println("==", text)
}

func brief(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprintf("%T %v", value, value)
	}
	if len(text) > 300 {
		sum := fnv.New32a()
		sum.Write(text)
		return fmt.Sprintf("<%d bytes, %08x>", len(text), sum.Sum32())
	}
	return string(text)
}

func check(err error) {
	if err != nil {
		fmt.Println("  unexpected:", err)
		os.Exit(1)
	}
}

func tellError(err error) {
	var told *pgconn.PgError
	if errors.As(err, &told) {
		// Which line of the server it was depends on its version only.
		fmt.Printf("   %+v\n", *told)
	} else {
		fmt.Printf("   %T\n", err)
	}
}

func connect(settings string) *pgx.Conn {
	config, err := pgx.ParseConfig(settings)
	check(err)
	config.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) {
		fmt.Println("  notice", notice.Severity, notice.Code,
			notice.Message, notice.Hint)
	}
	conn, err := pgx.ConnectConfig(background, config)
	check(err)
	return conn
}

func state(conn *pgx.Conn) {
	if conn.IsClosed() {
		fmt.Println("  state: closed")
	} else {
		fmt.Printf("  state: %c\n", conn.PgConn().TxStatus())
	}
}

type querier interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}

func show(rows pgx.Rows) {
	defer rows.Close()
	for _, column := range rows.FieldDescriptions() {
		fmt.Printf("    column %s: type %d format %d\n", column.Name,
			column.DataTypeOID, column.Format)
	}
	for rows.Next() {
		values, err := rows.Values()
		check(err)
		fmt.Println("    ", brief(values))
	}
	if rows.Err() != nil {
		tellError(rows.Err())
	} else {
		fmt.Println("  ", rows.CommandTag())
	}
}

func run(conn querier, sql string, arguments ...any) {
	fmt.Println(">", brief(sql))
	rows, err := conn.Query(background, sql, arguments...)
	if err != nil {
		tellError(err)
	} else {
		show(rows)
	}
	if one, ok := conn.(*pgx.Conn); ok {
		state(one)
	}
}

func session() {
	title("session")
	conn := connect("application_name=exercise options='-c work_mem=8MB'")
	for _, name := range []string{"server_version", "client_encoding",
		"application_name", "TimeZone", "is_superuser"} {
		fmt.Println("  ", name, conn.PgConn().ParameterStatus(name))
	}
	var pid uint32
	check(conn.QueryRow(background, "SELECT pg_backend_pid()").Scan(&pid))
	fmt.Println("   own process known:", pid == conn.PgConn().PID())
	run(conn, "SET TimeZone = 'Asia/Tokyo'")
	fmt.Println("  ", conn.PgConn().ParameterStatus("TimeZone"))
	check(conn.Close(background))
}

// How pgx sends a query; the first is what it does unless told otherwise.
var modes = []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement,
	pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
	pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol}

func queries(conn *pgx.Conn) {
	for _, mode := range modes {
		title("queries, mode " + mode.String())
		run(conn, "SELECT id, name, price::text, made, tags, doc, data "+
			"FROM item ORDER BY id", mode)
		for id := 1; id <= 2; id++ {
			run(conn, "SELECT name FROM item WHERE id = $1", mode, id)
		}
		run(conn, "INSERT INTO log (txt) VALUES ($1) RETURNING txt", mode,
			"ä")
		run(conn, "DELETE FROM log", mode)
		run(conn, "SELECT notes(2)", mode)
		run(conn, "SELECT fails($1)", mode, "on purpose")
		run(conn, "SELECT 1 / $1::int", mode, 0)
		run(conn, "INSERT INTO line VALUES (1, $1)", mode, 2)
		run(conn, "CALL commits(2)", mode)
		run(conn, "VACUUM log", mode)
		run(conn, "SELEC", mode)
		run(conn, "SELECT * FROM nowhere", mode)
		run(conn, "SELECT 1; SELECT 2", mode)
		run(conn, "SELECT $1::bool, $2::int8, $3::float8, $4::text, "+
			"$5::bytea, $6::timestamptz, $7::int[], $8::jsonb, "+
			"$9::uuid, $10::text", mode, true, int64(1)<<40, 2.5,
			"x'\\y☃", []byte{0, 255},
			time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC),
			[]int32{1, 2}, map[string]any{"a": 1},
			"12345678-1234-5678-1234-567812345678", nil)
		run(conn, "DELETE FROM log", mode)
	}
	title("several results")
	results, err := conn.PgConn().Exec(background,
		"SELECT 1; INSERT INTO log (txt) VALUES ('a'); SELECT 1 / 0; "+
			"SELECT 3").ReadAll()
	for _, result := range results {
		fmt.Println("  ", result.CommandTag, result.Rows, result.Err)
	}
	tellError(err)

	title("5 MB")
	run(conn, "INSERT INTO big VALUES (1, $1)",
		strings.Repeat("x", 5*1024*1024))
	run(conn, "SELECT txt, length(txt) FROM big")
	run(conn, "DELETE FROM big")
}

func prepared(conn *pgx.Conn) {
	title("prepared")
	statement, err := conn.Prepare(background, "by id",
		"SELECT id, name FROM item WHERE id = $1")
	check(err)
	fmt.Println("  ", statement.ParamOIDs, len(statement.Fields))
	run(conn, "by id", 1)
	run(conn, "by id", 2)
	check(conn.Deallocate(background, "by id"))
	run(conn, "DEALLOCATE ALL")
	run(conn, "SELECT name FROM item WHERE id = $1", 1)
	check(conn.DeallocateAll(background))
	run(conn, "SELECT name FROM item WHERE id = $1", 1)
}

func showBatch(conn *pgx.Conn, batch *pgx.Batch) {
	results := conn.SendBatch(background, batch)
	for i := 0; i < batch.Len(); i++ {
		rows, err := results.Query()
		if err != nil {
			tellError(err)
			continue
		}
		show(rows)
	}
	if err := results.Close(); err != nil {
		tellError(err)
	}
	state(conn)
}

func batches(conn *pgx.Conn) {
	title("batch")
	batch := &pgx.Batch{}
	batch.Queue("INSERT INTO log (txt) VALUES ($1)", "a")
	batch.Queue("SELECT notes(1)")
	batch.Queue("SELECT name FROM item WHERE id = $1", 2)
	batch.Queue("SELECT txt FROM log")
	showBatch(conn, batch)

	title("batch with an error")
	batch = &pgx.Batch{}
	batch.Queue("INSERT INTO log (txt) VALUES ('lost')")
	batch.Queue("SELECT 1 / $1::int", 0)
	batch.Queue("SELECT name FROM item WHERE id = $1", 2)
	showBatch(conn, batch)
	batch = &pgx.Batch{}
	batch.Queue("INSERT INTO log (txt) VALUES ('lost')")
	batch.Queue("INSERT INTO line VALUES (1, $1)", 2)
	showBatch(conn, batch)
	run(conn, "SELECT txt FROM log")
	run(conn, "DELETE FROM log")

	title("batch with a transaction")
	batch = &pgx.Batch{}
	batch.Queue("BEGIN")
	for i := 0; i < 3; i++ {
		batch.Queue("INSERT INTO log (txt) VALUES ($1) RETURNING txt",
			fmt.Sprint(i))
	}
	batch.Queue("COMMIT")
	showBatch(conn, batch)
	batch = &pgx.Batch{}
	for i := 0; i < 500; i++ {
		batch.Queue("SELECT $1::int", i)
	}
	sum := 0
	for i, results := 0, conn.SendBatch(background, batch); i < 500; i++ {
		var value int
		check(results.QueryRow().Scan(&value))
		sum += value
		if i == 499 {
			check(results.Close())
		}
	}
	fmt.Println("  ", sum)

	title("pipeline")
	pipeline := conn.PgConn().StartPipeline(background)
	pipeline.SendPrepare("p", "SELECT $1::text", nil)
	pipeline.SendQueryParams("SELECT 1", nil, nil, nil, nil)
	check(pipeline.Sync())
	pipeline.SendQueryPrepared("p", [][]byte{[]byte("x")}, nil, nil)
	pipeline.SendQueryParams("SELECT 1 / 0", nil, nil, nil, nil)
	pipeline.SendQueryParams("SELECT 'passed over'", nil, nil, nil, nil)
	check(pipeline.Sync())
	pipeline.SendDeallocate("p")
	check(pipeline.Sync())
	for {
		results, err := pipeline.GetResults()
		if err != nil {
			tellError(err)
			continue
		}
		if results == nil {
			break
		}
		switch one := results.(type) {
		case *pgconn.ResultReader:
			read := one.Read()
			fmt.Println("  ", read.CommandTag, read.Rows, read.Err)
		default:
			fmt.Printf("   %T\n", one)
		}
	}
	check(pipeline.Close())
	state(conn)
	run(conn, "DELETE FROM log")
}

func transactions(conn *pgx.Conn) {
	title("transactions")
	check(pgx.BeginFunc(background, conn, func(tx pgx.Tx) error {
		run(tx, "INSERT INTO log (txt) VALUES ('kept')")
		err := pgx.BeginFunc(background, tx, func(inner pgx.Tx) error {
			run(inner, "INSERT INTO log (txt) VALUES ('lost')")
			run(inner, "SELECT 1 / $1::int", 0)
			run(inner, "SELECT 'not heard'")
			return errors.New("enough")
		})
		fmt.Println("  ", err)
		run(tx, "SELECT txt FROM log")
		return nil
	}))
	state(conn)
	tx, err := conn.BeginTx(background, pgx.TxOptions{
		IsoLevel: pgx.Serializable, AccessMode: pgx.ReadOnly})
	check(err)
	run(tx, "SHOW transaction_isolation")
	run(tx, "DELETE FROM log")
	fmt.Println("  ", tx.Commit(background))
	state(conn)
	tx, err = conn.Begin(background)
	check(err)
	run(tx, "INSERT INTO line VALUES (1, 3)")
	tellError(tx.Commit(background))
	state(conn)
	run(conn, "DELETE FROM log")
}

func largeObjects(conn *pgx.Conn) {
	title("large objects")
	tx, err := conn.Begin(background)
	check(err)
	objects := tx.LargeObjects()
	oid, err := objects.Create(background, 0)
	check(err)
	object, err := objects.Open(background, oid,
		pgx.LargeObjectModeRead|pgx.LargeObjectModeWrite)
	check(err)
	object.Write([]byte("0123456789"))
	object.Seek(4, 0)
	three := make([]byte, 3)
	object.Read(three)
	fmt.Println("  ", string(three))
	check(objects.Unlink(background, oid))
	check(tx.Commit(background))
}

func copies(conn *pgx.Conn) {
	title("COPY")
	var out bytes.Buffer
	tag, err := conn.PgConn().CopyTo(background, &out, "COPY item TO STDOUT")
	fmt.Println("  ", tag, err, out.String())
	count, err := conn.CopyFrom(background, pgx.Identifier{"big"},
		[]string{"id", "txt"}, pgx.CopyFromSlice(20000,
			func(i int) ([]any, error) {
				return []any{i, strings.Repeat("z", 100)}, nil
			}))
	fmt.Println("  ", count, err)
	run(conn, "SELECT count(*), sum(length(txt)) FROM big")
	_, err = conn.CopyFrom(background, pgx.Identifier{"big"},
		[]string{"id", "txt"}, pgx.CopyFromRows([][]any{{1, "again"}}))
	tellError(err)
	_, err = conn.CopyFrom(background, pgx.Identifier{"big"},
		[]string{"id", "txt"}, pgx.CopyFromSlice(2,
			func(i int) ([]any, error) {
				return nil, errors.New("the source is broken")
			}))
	tellError(err)
	state(conn)
	_, err = conn.PgConn().CopyFrom(background,
		strings.NewReader("x\ty\n"), "COPY big FROM STDIN")
	tellError(err)
	state(conn)
	run(conn, "DELETE FROM big")
}

func notifications() {
	title("notifications")
	conn, other := connect(""), connect("")
	run(conn, "LISTEN news")
	run(other, "NOTIFY news, 'told'")
	run(other, "SELECT pg_notify('news', $1)", "by a function")
	for i := 0; i < 2; i++ {
		note, err := conn.WaitForNotification(background)
		check(err)
		fmt.Println("  ", note.Channel, note.Payload,
			note.PID == other.PgConn().PID())
	}
	run(conn, "NOTIFY news, 'own'")
	note, err := conn.WaitForNotification(background)
	check(err)
	fmt.Println("  ", note.Channel, note.Payload,
		note.PID == conn.PgConn().PID())
	check(conn.Close(background))
	check(other.Close(background))
}

func cancel() {
	title("cancel")
	conn := connect("")
	over := make(chan bool)
	stopped := make(chan bool)
	go func() {
		// A request that comes before the statement does nothing.
		for {
			select {
			case <-over:
				close(stopped)
				return
			case <-time.After(200 * time.Millisecond):
				conn.PgConn().CancelRequest(background)
			}
		}
	}()
	run(conn, "SELECT pg_sleep(600)")
	close(over)
	<-stopped
	check(conn.Close(background))

	title("time is up")
	// pgx closes a connection whose context has ended.
	conn = connect("")
	soon, stop := context.WithTimeout(background, time.Second)
	defer stop()
	_, err := conn.Exec(soon, "SELECT pg_sleep(600)")
	fmt.Println("  ", errors.Is(err, context.DeadlineExceeded))
	state(conn)
}

func pools() {
	title("pool")
	pool, err := pgxpool.New(background, "pool_max_conns=2")
	check(err)
	for i := 0; i < 3; i++ {
		run(pool, "SELECT $1::int + 1", i)
	}
	pool.Close()
}

func lost() {
	title("server goes away, reconnect")
	conn := connect("")
	run(conn, "SELECT pg_terminate_backend(pg_backend_pid())")
	conn = connect("")
	run(conn, "SELECT 'again'")
	check(conn.Close(background))
	_, err := pgx.Connect(background, "dbname=sqloom_does_not_exist")
	tellError(err)
}

// Without a transaction: "insert". In one: "update"; "locked" asks for the row
// first. The test runs two of them.
func race(kind string) {
	conn := connect("")
	defer conn.Close(background)
	if kind == "insert" {
		run(conn, "INSERT INTO log (txt) SELECT $1::text WHERE NOT "+
			"EXISTS (SELECT FROM log WHERE txt = $1)", "once")
		return
	}
	lock := ""
	if kind == "locked" {
		lock = " FOR UPDATE"
	}
	check(pgx.BeginFunc(background, conn, func(tx pgx.Tx) error {
		var price float64
		err := tx.QueryRow(background, "SELECT price::float8 FROM item "+
			"WHERE id = $1"+lock, 1).Scan(&price)
		check(err)
		_, err = tx.Exec(background,
			"UPDATE item SET price = $1 WHERE id = $2", price+1, 1)
		return err
	}))
}

func main() {
	if len(os.Args) > 1 {
		race(os.Args[1])
		return
	}
	session()
	conn := connect("")
	queries(conn)
	prepared(conn)
	batches(conn)
	transactions(conn)
	// What an exploration cannot undo.
	if os.Getenv("UNDER_CONTROL") == "" {
		largeObjects(conn)
	}
	copies(conn)
	check(conn.Close(background))
	notifications()
	cancel()
	pools()
	lost()
	title("end")
}
