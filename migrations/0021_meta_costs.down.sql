DROP TABLE message_costs;
DROP TABLE meta_rates;
