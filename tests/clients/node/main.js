// All scenarios of Node.
'use strict';

const { runAll } = require('./scenario');

runAll({ ...require('./discord'), ...require('./node_redis'), ...require('./bullmq') });
