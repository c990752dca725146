-- SPDX-License-Identifier: Apache-2.0
SET client_min_messages = warning;
DROP TABLE IF EXISTS redemption, coupon;
CREATE TABLE coupon (
    code  text PRIMARY KEY,
    cents integer NOT NULL,
    used  boolean NOT NULL DEFAULT false
);
CREATE TABLE redemption (
    id    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code  text NOT NULL REFERENCES coupon
);
INSERT INTO coupon (code, cents) VALUES ('XMAS10', 1000);
