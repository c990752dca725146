// SPDX-License-Identifier: Apache-2.0

import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.Arrays;
import java.util.Properties;
import java.util.Timer;
import java.util.TimerTask;

import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

/**
 * pgJDBC as a client: what a PostgreSQL server can be asked, and what came of
 * it, on standard output. Where to connect comes from PGHOST and the like.
 * Expects schema.sql.
 */
public final class Client {
    private static void title(String text) {
        System.out.println("== " + text);
    }

    private static String env(String name) {
        return System.getenv().getOrDefault(name, "");
    }

    /** more: name=value ... */
    private static Connection connect(String... more) throws SQLException {
        Properties properties = new Properties();
        String database = env("PGDATABASE");
        properties.setProperty("user", env("PGUSER"));
        properties.setProperty("password", env("PGPASSWORD"));
        properties.setProperty("sslmode",
            System.getenv().getOrDefault("PGSSLMODE", "prefer"));
        for (String each : more) {
            String[] parts = each.split("=", 2);
            if (parts[0].equals("database")) {
                database = parts[1];
            } else {
                properties.setProperty(parts[0], parts[1]);
            }
        }
        return DriverManager.getConnection("jdbc:postgresql://"
            + env("PGHOST") + ":" + env("PGPORT") + "/" + database,
            properties);
    }

    private static String brief(Object value) {
        String text = value instanceof byte[]
            ? Arrays.toString((byte[]) value) : String.valueOf(value);
        return text.length() <= 300 ? text
            : "<" + text.length() + " characters, " + text.hashCode() + ">";
    }

    private static void tellError(SQLException error) {
        System.out.println("   " + error.getClass().getSimpleName() + " "
            + error.getSQLState());
        if (error instanceof BatchUpdateException) {
            System.out.println("   counts " + Arrays.toString(
                ((BatchUpdateException) error).getUpdateCounts()));
        }
        for (SQLException each = error; each != null;
                each = each.getNextException()) {
            ServerErrorMessage told = each instanceof PSQLException
                ? ((PSQLException) each).getServerErrorMessage() : null;
            if (told == null) {
                System.out.println("    " + each.getMessage());
                continue;
            }
            System.out.println("    " + told.getSeverity() + " "
                + told.getSQLState() + " " + told.getMessage() + " / "
                + told.getDetail() + " / " + told.getHint() + " / "
                + told.getWhere() + " / " + told.getPosition() + " / "
                + told.getSchema() + " / " + told.getTable() + " / "
                + told.getColumn() + " / " + told.getDatatype() + " / "
                + told.getConstraint() + " / " + told.getRoutine());
        }
    }

    private static void showRows(ResultSet rows) throws SQLException {
        ResultSetMetaData about = rows.getMetaData();
        for (int i = 1; i <= about.getColumnCount(); i++) {
            System.out.println("    column " + about.getColumnName(i) + ": "
                + about.getColumnTypeName(i));
        }
        while (rows.next()) {
            StringBuilder line = new StringBuilder("    ");
            for (int i = 1; i <= about.getColumnCount(); i++) {
                // Some come in binary; as text they show it less.
                Object value = about.getColumnType(i) == Types.BINARY
                    ? rows.getBytes(i) : rows.getString(i);
                line.append(i > 1 ? " | " : "").append(brief(value));
            }
            System.out.println(line);
        }
    }

    private static void show(Statement statement, boolean hasRows)
            throws SQLException {
        for (boolean rows = hasRows;; rows = statement.getMoreResults()) {
            if (rows) {
                showRows(statement.getResultSet());
            } else if (statement.getUpdateCount() >= 0) {
                System.out.println("   " + statement.getUpdateCount());
            } else {
                break;
            }
        }
        for (SQLWarning warning = statement.getWarnings(); warning != null;
                warning = warning.getNextWarning()) {
            System.out.println("  notice " + warning.getSQLState() + " "
                + warning.getMessage());
        }
    }

    private static void run(Connection connection, String sql) {
        System.out.println("> " + sql);
        try (Statement statement = connection.createStatement()) {
            show(statement, statement.execute(sql));
        } catch (SQLException error) {
            tellError(error);
        }
    }

    private static void run(Connection connection, String sql,
            Object... values) {
        System.out.print("> " + sql);
        for (Object value : values) {
            System.out.print(" " + brief(value));
        }
        System.out.println();
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                statement.setObject(i + 1, values[i]);
            }
            show(statement, statement.execute());
        } catch (SQLException error) {
            tellError(error);
        }
    }

    private static void session() throws SQLException {
        title("session");
        try (Connection connection = connect("ApplicationName=exercise")) {
            PGConnection postgres = connection.unwrap(PGConnection.class);
            for (String name : new String[] {"server_version", "TimeZone",
                "client_encoding", "application_name", "is_superuser"}) {
                System.out.println("   " + name + " "
                    + postgres.getParameterStatus(name));
            }
            try (ResultSet rows = connection.createStatement().executeQuery(
                    "SELECT pg_backend_pid()")) {
                rows.next();
                System.out.println("   own process known: "
                    + (rows.getInt(1) == postgres.getBackendPID()));
            }
            System.out.println("   " + connection.isValid(60));
            run(connection, "SET TimeZone = 'Asia/Tokyo'");
            System.out.println("   "
                + postgres.getParameterStatus("TimeZone"));
        }
    }

    private static void queries(String mode) throws SQLException {
        title("queries, mode " + mode);
        try (Connection connection = connect("preferQueryMode=" + mode,
                "prepareThreshold=3")) {
            run(connection, "SELECT * FROM item ORDER BY id");
            for (int i = 1; i <= 6; i++) {
                run(connection, "SELECT id, name, price FROM item "
                    + "WHERE id = ?", i);
            }
            run(connection, "SELECT 1; SELECT 2");
            run(connection, "SELECT 1; SELECT 1 / 0; SELECT 2");
            run(connection, "INSERT INTO log (txt) VALUES ('a'); "
                + "SELECT txt FROM log; DELETE FROM log");
            run(connection, "INSERT INTO log (txt) VALUES (?)", "ä");
            run(connection, "DELETE FROM log WHERE txt = ?", "ä");
            run(connection, "SELECT notes(?)", 2);
            run(connection, "SELECT fails(?)", "on purpose");
            run(connection, "SELECT 1 / ?", 0);
            run(connection, "INSERT INTO line VALUES (1, ?)", 2);
            run(connection, "CALL commits(2)");
            run(connection, "VACUUM log");
            run(connection, "DELETE FROM log");
            run(connection, "SELEC");
            run(connection, "SELECT * FROM nowhere");
            run(connection, "");
            run(connection, "SELECT ?::bool, ?::int8, ?::float8, ?::numeric, "
                + "?::text, ?::bytea, ?::timestamptz, ?::uuid, ?::jsonb",
                true, 1L << 40, 2.5, new java.math.BigDecimal("3.250"),
                "x'\\y☃", new byte[] {0, -1},
                Timestamp.valueOf("2026-01-01 12:00:00"),
                java.util.UUID.fromString(
                    "12345678-1234-5678-1234-567812345678"), "{\"a\": 1}");
            run(connection, "SELECT ?::int, ?::text", null, null);
        }
    }

    private static void large() throws SQLException {
        title("5 MB");
        try (Connection connection = connect()) {
            run(connection, "INSERT INTO big VALUES (1, ?)",
                "x".repeat(5 * 1024 * 1024));
            run(connection, "SELECT txt, length(txt) FROM big");
            run(connection, "DELETE FROM big");
        }
    }

    private static void batches(String... settings) throws SQLException {
        title("batches " + String.join(" ", settings));
        try (Connection connection = connect(settings)) {
            for (boolean auto : new boolean[] {true, false}) {
                connection.setAutoCommit(auto);
                try (PreparedStatement statement = connection.prepareStatement(
                        "INSERT INTO big VALUES (?, ?)")) {
                    for (int i = 0; i < 300; i++) {
                        statement.setInt(1, i);
                        statement.setString(2, "row " + i);
                        statement.addBatch();
                    }
                    System.out.println("   " + brief(Arrays.toString(
                        statement.executeBatch())));
                    for (int i = 300; i > 290; i--) {
                        statement.setInt(1, i);
                        statement.setString(2, "again");
                        statement.addBatch();
                    }
                    statement.executeBatch();
                } catch (SQLException error) {
                    tellError(error);
                }
                if (!auto) {
                    connection.rollback();
                }
                run(connection, "SELECT count(*) FROM big");
                run(connection, "DELETE FROM big");
            }
            connection.setAutoCommit(true);
            try (Statement statement = connection.createStatement()) {
                statement.addBatch("INSERT INTO log (txt) VALUES ('a')");
                statement.addBatch("UPDATE log SET txt = 'b'");
                statement.addBatch("DELETE FROM log");
                System.out.println("   " + Arrays.toString(
                    statement.executeBatch()));
            }
            try (PreparedStatement statement = connection.prepareStatement(
                    "INSERT INTO log (txt) VALUES (?)",
                    new String[] {"txt"})) {
                for (int i = 0; i < 3; i++) {
                    statement.setString(1, "key " + i);
                    statement.addBatch();
                }
                statement.executeBatch();
                showRows(statement.getGeneratedKeys());
            }
            run(connection, "DELETE FROM log");
        }
    }

    private static void portals() throws SQLException {
        title("portals");
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            try (PreparedStatement one = connection.prepareStatement(
                    "SELECT i FROM generate_series(1, ?) AS i");
                PreparedStatement two = connection.prepareStatement(
                    "SELECT id, name FROM item ORDER BY id")) {
                one.setFetchSize(7);
                one.setInt(1, 100);
                two.setFetchSize(2);
                // Two portals are open at the same time.
                try (ResultSet left = one.executeQuery();
                    ResultSet right = two.executeQuery()) {
                    long sum = 0;
                    while (left.next()) {
                        sum += left.getInt(1);
                        if (left.getInt(1) % 20 == 0 && right.next()) {
                            System.out.println("   " + right.getString(2));
                        }
                    }
                    System.out.println("   " + sum);
                }
            }
            try (PreparedStatement failing = connection.prepareStatement(
                    "SELECT 1 / (5 - i) FROM generate_series(1, 9) AS i")) {
                failing.setFetchSize(2);
                showRows(failing.executeQuery());
            } catch (SQLException error) {
                tellError(error);
            }
            connection.rollback();
            try (PreparedStatement few = connection.prepareStatement(
                    "SELECT i FROM generate_series(1, 100) AS i")) {
                few.setMaxRows(3);
                showRows(few.executeQuery());
            }
            connection.commit();
        }
    }

    private static void transactions() throws SQLException {
        title("transactions");
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            run(connection, "INSERT INTO log (txt) VALUES (?)", "kept");
            Savepoint savepoint = connection.setSavepoint("a");
            run(connection, "SELECT 1 / ?", 0);
            run(connection, "SELECT 'not heard'");
            connection.rollback(savepoint);
            connection.commit();
            run(connection, "INSERT INTO line VALUES (1, ?)", 3);
            try {
                connection.commit();
            } catch (SQLException error) {
                tellError(error);
            }
            connection.rollback();
            run(connection, "SELECT 1 / 0");
            try {
                connection.commit();
            } catch (SQLException error) {
                tellError(error);
            }
            connection.setTransactionIsolation(
                Connection.TRANSACTION_SERIALIZABLE);
            connection.setReadOnly(true);
            run(connection, "SHOW transaction_isolation");
            run(connection, "DELETE FROM log");
            connection.rollback();
            connection.setReadOnly(false);
            run(connection, "SELECT txt FROM log");
            run(connection, "DELETE FROM log");
            connection.commit();
        }
        title("autosave");
        try (Connection connection = connect("autosave=always")) {
            connection.setAutoCommit(false);
            run(connection, "INSERT INTO log (txt) VALUES (?)", "a");
            run(connection, "SELECT 1 / ?", 0);
            run(connection, "SELECT txt FROM log");
            connection.rollback();
        }
    }

    private static void copies() throws Exception {
        title("COPY");
        try (Connection connection = connect()) {
            CopyManager copy = connection.unwrap(PGConnection.class)
                .getCopyAPI();
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            System.out.println("   " + copy.copyOut("COPY item TO STDOUT",
                out));
            System.out.println(out.toString(StandardCharsets.UTF_8));
            StringBuilder lines = new StringBuilder();
            for (int i = 0; i < 20000; i++) {
                lines.append(i).append('\t').append("z".repeat(100))
                    .append('\n');
            }
            System.out.println("   " + copy.copyIn("COPY big FROM STDIN",
                new StringReader(lines.toString())));
            run(connection, "SELECT count(*), sum(length(txt)) FROM big");
            try {
                copy.copyIn("COPY big FROM STDIN",
                    new StringReader("x\ty\n"));
            } catch (SQLException error) {
                tellError(error);
            }
            run(connection, "DELETE FROM big");
        }
    }

    private static void largeObjects() throws SQLException {
        title("large objects");
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            LargeObjectManager manager = connection.unwrap(PGConnection.class)
                .getLargeObjectAPI();
            long oid = manager.createLO();
            LargeObject object = manager.open(oid);
            object.write("0123456789".getBytes(StandardCharsets.UTF_8));
            object.seek(4);
            System.out.println("   " + new String(object.read(3),
                StandardCharsets.UTF_8) + " " + object.tell() + " "
                + object.size());
            object.close();
            manager.unlink(oid);
            connection.commit();
        }
    }

    private static void notifications() throws SQLException {
        title("notifications");
        try (Connection connection = connect(); Connection other = connect()) {
            PGConnection postgres = connection.unwrap(PGConnection.class);
            int pid = other.unwrap(PGConnection.class).getBackendPID();
            run(connection, "LISTEN news");
            run(other, "NOTIFY news, 'told'");
            run(other, "SELECT pg_notify('news', ?)", "by a function");
            int heard = 0;
            while (heard < 2) {
                for (PGNotification note : postgres.getNotifications(0)) {
                    System.out.println("   " + note.getName() + " "
                        + note.getParameter() + " " + (note.getPID() == pid));
                    heard++;
                }
            }
        }
    }

    private static void cancel() throws SQLException {
        title("cancel");
        try (Connection connection = connect();
            Statement statement = connection.createStatement()) {
            Timer timer = new Timer(true);
            // A request that comes before the statement does nothing.
            timer.schedule(new TimerTask() {
                @Override
                public void run() {
                    try {
                        statement.cancel();
                    } catch (SQLException error) {
                        tellError(error);
                    }
                }
            }, 200, 200);
            try {
                statement.execute("SELECT pg_sleep(600)");
            } catch (SQLException error) {
                tellError(error);
            }
            timer.cancel();
        }
        title("time is up");
        try (Connection connection = connect();
            Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            try {
                statement.execute("SELECT pg_sleep(600)");
            } catch (SQLException error) {
                tellError(error);
            }
            statement.setQueryTimeout(0);
            showRows(statement.executeQuery("SELECT 'on'"));
        }
    }

    private static void lost() throws SQLException {
        title("server goes away, reconnect");
        try (Connection connection = connect()) {
            run(connection, "SELECT pg_terminate_backend(pg_backend_pid())");
        }
        try (Connection connection = connect()) {
            run(connection, "SELECT 'again'");
        }
        try {
            connect("database=sqloom_does_not_exist").close();
            System.out.println("connected");
        } catch (SQLException error) {
            tellError(error);
        }
    }

    /**
     * Without a transaction: "insert". In one: "update"; "locked" asks for the
     * row first. The test runs two of them.
     */
    private static void race(String kind) throws SQLException {
        try (Connection connection = connect()) {
            if (kind.equals("insert")) {
                run(connection, "INSERT INTO log (txt) SELECT ?::text WHERE "
                    + "NOT EXISTS (SELECT FROM log WHERE txt = ?)", "once",
                    "once");
                return;
            }
            connection.setAutoCommit(false);
            try (PreparedStatement select = connection.prepareStatement(
                    "SELECT price FROM item WHERE id = ?"
                    + (kind.equals("locked") ? " FOR UPDATE" : ""));
                PreparedStatement update = connection.prepareStatement(
                    "UPDATE item SET price = ? WHERE id = ?")) {
                select.setInt(1, 1);
                ResultSet rows = select.executeQuery();
                rows.next();
                update.setBigDecimal(1, rows.getBigDecimal(1).add(
                    java.math.BigDecimal.ONE));
                update.setInt(2, 1);
                update.executeUpdate();
            }
            connection.commit();
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length > 0) {
            race(arguments[0]);
            System.out.flush();
            return;
        }
        System.setOut(new java.io.PrintStream(new java.io.FileOutputStream(
            java.io.FileDescriptor.out), false, StandardCharsets.UTF_8));
        session();
        for (String mode : new String[] {"extended", "simple",
            "extendedForPrepared", "extendedCacheEverything"}) {
            queries(mode);
        }
        large();
        batches();
        batches("reWriteBatchedInserts=true");
        portals();
        transactions();
        copies();
        // What an exploration cannot undo.
        if (env("UNDER_CONTROL").isEmpty()) {
            largeObjects();
        }
        notifications();
        cancel();
        lost();
        title("end");
        System.out.flush();
    }
}
