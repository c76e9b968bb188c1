// Sends a few spans with OpenTelemetry's JavaScript SDK and one of its OTLP exporters.
//
//   node export.cjs http|proto|grpc URL KEY SCENARIO
//
// Prints one JSON document: {"success", "error", "warnings", "spans": [{"name", "traceId",
// "spanId", "parentSpanId", "started", "completed"}]}, times in nanoseconds as decimal text.
'use strict';

const api = require('@opentelemetry/api');
const { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } =
  require('@opentelemetry/sdk-trace-base');
const { resourceFromAttributes } = require('@opentelemetry/resources');

const STARTED = [1763632800, 123456789];
const COMPLETED = [1763632801, 987654321];

// The API takes scalars and flat arrays; the exporters encode all of OTLP's values. These go
// around the API, as its next version will take them.
const BEYOND_THE_API = {
  'app.bytes': new Uint8Array([0, 1, 254, 255]),
  'app.nested': [[1, [2, 'three']], { four: [5.5, null] }],
  'app.map': { city: 'Zürich', point: { x: 1, y: -2.5 }, none: {} },
  'intentproof.inputs': { charge: 'ch_1', amount: 2 ** 60, lines: [{ sku: 'ä-1' }] },
};

const EVERY_TYPE = {
  'intentproof.intent': 'Return captured funds — 退款 👍',
  'intentproof.action': 'stripe.refund.create',
  'intentproof.correlation_id': 'order-42',
  'intentproof.output': '{"id":"re_1","ok":true}',
  'app.text': 'é \u0000 \u202e 👩‍👩‍👧',
  'app.empty': '',
  'app.true': true,
  'app.false': false,
  'app.zero': 0,
  'app.negative': -7,
  'app.safe': Number.MAX_SAFE_INTEGER,
  'app.big': 2 ** 60,
  'app.smallest': -(2 ** 63),
  'app.fraction': 0.1,
  'app.tiny': 1e-7,
  'app.texts': ['a', 'β'],
  'app.numbers': [1, 2.5, -3],
  'app.flags': [true, false],
  'app.nothing': [],
  'app.hole': ['a', null],
};

const LINKED = [
  {
    context: { traceId: 'ABCDEF0123456789abcdef0123456789'.toLowerCase(), spanId: 'fedcba9876543210', traceFlags: 1 },
    attributes: { 'link.reason': 'retry', 'link.number': 2 },
  },
  { context: { traceId: '00000000000000000000000000000001', spanId: '0000000000000002', traceFlags: 0 } },
];

function everyField(tracer) {
  const root = tracer.startSpan('request', { kind: api.SpanKind.SERVER, startTime: STARTED });
  const inRoot = api.trace.setSpan(api.ROOT_CONTEXT, root);
  const refund = tracer.startSpan(
    'refund',
    { kind: api.SpanKind.CLIENT, startTime: STARTED, attributes: EVERY_TYPE, links: LINKED },
    inRoot,
  );
  Object.assign(refund.attributes, BEYOND_THE_API);
  refund.addEvent('attempt', { 'attempt.number': 1 }, STARTED);
  refund.recordException({ name: 'CardError', message: 'déclined', stack: 'at refund' }, COMPLETED);
  refund.setStatus({ code: api.SpanStatusCode.ERROR, message: 'not the last word' });
  refund.end(COMPLETED);
  const tool = tracer.startSpan(
    'execute_tool lookup_order',
    {
      startTime: STARTED,
      attributes: {
        'gen_ai.operation.name': 'execute_tool',
        'gen_ai.tool.name': 'lookup_order',
        'gen_ai.tool.call.arguments': '{"order":"o-17"}',
      },
    },
    inRoot,
  );
  tool.setStatus({ code: api.SpanStatusCode.OK });
  tool.end(COMPLETED);
  root.end(COMPLETED);
}

// A blank intent is refused, and its neighbour is not.
function oneDamaged(tracer) {
  for (const intent of [' ', 'Tell the customer']) {
    tracer.startSpan('call', { attributes: { 'intentproof.intent': intent } }).end();
  }
}

// What a double can be and an int64 cannot, and text that is no Unicode.
function onlyDoubles(tracer) {
  const attributes = {
    'intentproof.intent': 'Measure',
    'app.googol': 1e100,
    'app.past-int64': 2 ** 63,
    'app.least-int64': -(2 ** 63),
    'app.nan': NaN,
    'app.infinity': -Infinity,
    'app.surrogate': 'x\ud800y',
  };
  tracer.startSpan('call', { attributes }).end();
}

const SCENARIOS = {
  'every-field': everyField, 'one-damaged': oneDamaged, 'only-doubles': onlyDoubles,
};

function exporterOf(transport, url, key) {
  if (transport === 'grpc') {
    const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-grpc');
    const { Metadata } = require('@grpc/grpc-js');
    const metadata = new Metadata();
    metadata.set('x-api-key', key);
    return new OTLPTraceExporter({ url, metadata });
  }
  const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${transport}`);
  return new OTLPTraceExporter({ url, headers: { 'x-api-key': key } });
}

const nanoseconds = ([seconds, rest]) => String(BigInt(seconds) * 1000000000n + BigInt(rest));

async function main([transport, url, key, scenario]) {
  const warnings = [];
  const warn = (...parts) => warnings.push(parts.join(' '));
  api.diag.setLogger({ error: warn, warn, info() {}, debug() {}, verbose() {} });

  const ended = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes({
      'service.name': 'refunds', 'service.version': '1.2.3', 'host.name': 'h1',
    }),
    spanProcessors: [new SimpleSpanProcessor(ended)],
  });
  SCENARIOS[scenario](provider.getTracer('story', '4.5.6'));
  await provider.forceFlush();
  const spans = ended.getFinishedSpans();

  const exporter = exporterOf(transport, url, key);
  const result = await new Promise(resolve => exporter.export(spans, resolve));
  await exporter.shutdown();
  console.log(JSON.stringify({
    success: result.code === 0,
    error: result.error ? String(result.error) : null,
    warnings,
    spans: spans.map(span => ({
      name: span.name,
      traceId: span.spanContext().traceId,
      spanId: span.spanContext().spanId,
      parentSpanId: span.parentSpanContext?.spanId ?? null,
      started: nanoseconds(span.startTime),
      completed: nanoseconds(span.endTime),
    })),
  }));
}

main(process.argv.slice(2));
