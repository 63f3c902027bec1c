package main

// statusLegend says what the counts mean, for --help.
const statusLegend = `Counts are since the hub started; those that are 0 are mostly left out.

  messages   taken by the hub; of these each has either succeeded: a receiver or a
             handler has it; or was dropped by a filter or handler on purpose; or was for
             nobody there who can take it; or has failed, with why; or is in flight.
             refused: not taken, nobody serves the type
  deliveries of these messages, one for each receiver; of these each is either delivered:
             written to the receiver's socket, or confirmed by a server; or queued;
             or lost, with why
  log        lines of the hub's log that were lost, where there are any
  limits     memory that the hub may use, of its machine or control group, and what it
             allows for session.memory, session.connections and session.per_account
  users      who is logged in, with how often; without the session that asks
  CONNECTED  the user of a session; FROM its address, FOR how long, SUBSCRIBED TO these
             patterns; DELIVERED to it and LOST: messages. Handlers are below
  RECEIVER   a user to whom deliveries were lost or are queued, those with most first
  sessions   open now, without the one that asks, and what became of connections
  servers    messages for other servers, those without a name in the config too
  ROUTE      as the config has them, THROUGH its filters and handlers, TO its receivers
  FILTER     inside the hub; COUNTS: messages that it has passed on or dropped whole, or
             messages seen by an alarm; records left out; malformed: messages that are no
             SenML pack; invalid: records that cannot be judged; evicted: names forgotten,
             and unwatched: values not judged, since its memory is full; alarms raised,
             repeated and cleared
  SERVER     of the config: messages SENT and confirmed, UNCONFIRMED (it took them and said
             nothing in time), FAILED (too much waited for it, too) and WAITING; STATE by
             the last message, and when: untried, works, unconfirmed or fails, and why. An
             original Bester stays unconfirmed; a hub of this kind that does is slow, or at
             another port
  HANDLER    as the config, or the process itself, names it
  TYPES      it serves; by route: it serves none, routes lead through it
  PROCESSES  connected now; classic: the hub connects to it, once for each message
  WAITING    messages that are not sent to it yet, and IN FLIGHT those not answered
  ANSWERED   by it, FAILED for whatever reason, of these TIMED OUT without an answer in
             time; REFUSED: too many waited, or its program was not running
  RESTARTS   of its program by the hub; a start that fails is none
  DEVICE     READS of it, of these FAILURES; SKIPPED: it was too slow for its interval;
             SENT, REFUSED: its messages that the hub took and did not take; LOST: of
             those taken, what failed further on; STATE by the last read and message:
             unread, works, partial (some of its parts cannot be read), undelivered (its
             messages do not get through) or fails, and why`

// statusKeys says what the keys of --json are, for --help.
const statusKeys = `  hub        its name
  version    of besterd
  pid        number of its process
  uptime     seconds
  memory     bytes it has of the system
  log_lost   lines of the log that were lost, because standard error was not read or
             could not be written
  limits     memory (bytes the hub may use; 0: unknown), from (machine, or the control
             group's file), session_memory, connections, per_account, descriptors
  listeners  list of network://address
  users      list of names, one for each session, that of who asks too
  router     messages: taken = succeeded + failed + dropped + absent (for nobody there) +
             in_flight; failures (object: how many failed by reason), refused (not
             taken), panics (bugs of the hub), last_values (types whose
             last message is kept), last_values_evicted (that gave way to others); deliveries: handed = delivered +
             unconfirmed (servers took them and said nothing) + queued + lost; losses
             (object: how many were lost by reason)
  receivers  list: user ("": all who left long ago), sessions, send_only (sessions that
             take no deliveries), delivered, queued, lost, losses (as in router)
  connected  list of the sessions, that of who asks too: user, role (client, server,
             handler), from (its address, or unix), since (RFC 3339), send_only,
             subscriptions (list of patterns), delivered, queued, lost, losses (as in
             router)
  sessions   sessions, connections and subscriptions now; subscriptions_refused; of
             connections: accepted, logins, denied,
             sends_denied (messages of types that their account may not send),
             sends_slowed (messages over session.rate or total_rate),
             origins_denied (messages of peers that named an origin they may not speak for),
             too_many, too_many_of_account, no_descriptors, frames_too_long,
             logins_too_slow, malformed, panics,
             slow_readers_closed, dropped (deliveries), logins_held_off,
             logins_evicted (connections that had not logged in, closed for others),
             stopped_in_a_frame, frames_no_memory, memory_refused; memory: bytes of
             session.memory taken now
  accounts   logins: good, and of these cached (the password was checked lately) or resumed
             (by a token); denied, busy (too many waited), shed (of those, had waited),
             canceled (the peer gave up); hashes: passwords checked or set; changes_limited
             (of passwords, refused: too often)
  servers    messages for other servers together: sent, unconfirmed, failed, and waiting
             now; panics (bugs of the hub)
  upstreams  list of the config's servers: name, address, sent, unconfirmed, failed,
             waiting, state (untried, works, unconfirmed, fails), since (RFC 3339: when
             that was seen last; left out if never), error (empty if it did not fail)
  routes     list in the config's order: match, through (names), to (addresses)
  filters    list: name, kind, counts (messages, passed, dropped, records, malformed,
             invalid, evicted, unwatched, raised, repeated, cleared: those of its kind)
  handlers   list: name, types, native (false: classic), processes, waiting, in_flight,
             sent, answered, failed, timeouts, late, unmatched (answers that belonged to
             no message in flight, and were dropped), refused, malformed (what it sent
             made no sense), panics (bugs of the hub where answers went), restarts,
             exit_reason (why its program does not run, or empty)
  handlers_refused  handler processes that were not let in
  devices    list: name, kind, reads, failures, skipped, invalid (readings left out), sent,
             refused, lost (taken, then failed), missing (parts not read while others
             were), failing (true: the last read failed or part of it), state (unread,
             works, partial, undelivered, fails), error (why; empty if it works)`
