-- Tables, an index, a recursive query, aggregation, joins and text functions, all in memory.
CREATE TABLE item (id INTEGER PRIMARY KEY, kind INTEGER, price REAL, name TEXT);
WITH RECURSIVE n(i, s) AS (
    SELECT 1, 12345
    UNION ALL
    SELECT i + 1, (s * 1103515245 + 12345) & 2147483647 FROM n WHERE i < 20000
)
INSERT INTO item SELECT i, (s >> 8) % 97, (s >> 9) % 10000 / 100.0, 'item ' || (s >> 10) FROM n;
CREATE INDEX item_kind ON item (kind, price);
SELECT kind, count(*), round(avg(price), 4) FROM item GROUP BY kind ORDER BY 3 DESC LIMIT 5;
SELECT count(*) FROM item a JOIN item b ON b.kind = a.kind AND b.price > a.price WHERE a.id < 300;
SELECT sum(length(replace(upper(name), '7', 'seven'))) FROM item WHERE name LIKE '%42%';
UPDATE item SET price = price * 1.01 WHERE kind < 40;
DELETE FROM item WHERE id % 3 = 0;
SELECT count(*), round(sum(price), 3), max(name) FROM item;
