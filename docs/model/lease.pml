/*
 * The life of one event between a producer and two consumers, at the worst: every
 * answer may be lost, a consumer may die at any time, and a lease may end at any
 * instant, which stands for arbitrary clocks and pauses.
 *
 * The protocol is right with all three rules, and wrong without any one of them:
 *
 *   FENCE   a settlement has the token of its claim; else it names the id alone
 *   WINDOW  an id that ended stays known; else a repeated Push stores it anew
 *   ATOMIC  Retry is one step; else it removes the event and then adds it again
 *
 * README.md says how to check it.
 */
#ifndef FENCE
#define FENCE 1
#endif
#ifndef WINDOW
#define WINDOW 1
#endif
#ifndef ATOMIC
#define ATOMIC 1
#endif

#define MAX_ATTEMPTS 3
#define CLAIMS       3 /* of each consumer, so that the state space is finite */
#define CRASHES      2 /* of all consumers */

mtype = { none, waiting, running, ended, dead };

mtype state   = none;
byte token    = 0;     /* that is valid; 0: none is */
byte holder   = 0;     /* consumer that has the valid claim */
byte attempts = 0;
byte issued   = 0;     /* tokens so far: they never repeat */
byte crashes  = 0;

/* What must not happen is noted here, for the claims at the end. */
bool ranOk        = false; /* a handler returned nil */
bool resurrected  = false; /* stored again although it had ended */
bool foreignAck   = false; /* acked by one that no longer held it */
bool staleBury    = false; /* buried by one that no longer held it */
bool vanished     = false; /* neither stored nor ended */

/* A producer repeats its Push until it has an answer. */
active proctype producer() {
  byte tries = 0;
  do
  :: tries < 2 ->
     tries++;
     atomic {
       if
       :: state == none -> state = waiting
       :: state == ended && !WINDOW -> state = waiting; attempts = 0; resurrected = true
       :: else -> skip /* ErrDuplicate */
       fi
     }
     if
     :: break /* answered */
     :: skip  /* the answer is lost */
     fi
  :: else -> break
  od
}

/* A lease may end whenever it likes. The event waits then, or is buried as poison. */
active proctype clock() {
  byte ends = 0;
  do
  :: atomic {
       state == running && ends < 3 ->
       ends++;
       if
       :: attempts >= MAX_ATTEMPTS -> state = dead
       :: else -> state = waiting
       fi;
       token = 0;
       holder = 0
     }
  :: state == ended || state == dead -> break
  :: ends >= 3 -> break
  od
}

/* Whether a settlement with the token t is taken. */
#define VALID(t) (state == running && (!FENCE || token == t))

proctype consumer(byte me) {
  byte mine = 0; /* token of the claim at hand; 0: none is */
  byte claims = 0;
  bool ok;
  do
  :: atomic {
       state == waiting && claims < CLAIMS ->
       claims++;
       attempts++;
       issued++;
       state = running;
       token = issued;
       holder = me;
       mine = issued
     };
     if
     :: mine = 0                                        /* the answer is lost: nothing runs */
     :: crashes < CRASHES -> crashes++; mine = 0        /* it dies before it has run the handler, or while it does */
     :: ok = true; ranOk = true
     :: ok = false
     fi;
     if
     :: mine != 0 && ok -> /* Ack */
        atomic {
          if
          :: VALID(mine) ->
             if
             :: holder != me || token != mine -> foreignAck = true
             :: else -> skip
             fi;
             state = ended;
             token = 0;
             holder = 0
          :: else -> skip /* ErrLeaseLost */
          fi
        }
     :: mine != 0 && !ok -> /* Retry, or Bury if the attempts are used up */
#if ATOMIC
        atomic {
          if
          :: VALID(mine) ->
             if
             :: attempts >= MAX_ATTEMPTS ->
                if
                :: token != mine -> staleBury = true
                :: else -> skip
                fi;
                state = dead
             :: else -> state = waiting
             fi;
             token = 0;
             holder = 0
          :: else -> skip /* ErrLeaseLost */
          fi
        }
#else
        atomic {
          if
          :: VALID(mine) -> state = none; token = 0; holder = 0; vanished = true
          :: else -> mine = 0 /* ErrLeaseLost */
          fi
        };
        if
        :: mine == 0 -> skip
        :: mine != 0 && crashes < CRASHES -> crashes++; goto died /* with the event in its hands */
        :: mine != 0 -> state = waiting; vanished = false
        fi
#endif
     :: else -> skip
     fi;
     mine = 0
  :: state == ended || state == dead -> break
  :: claims >= CLAIMS -> break
  od;
died:
  skip
}

init {
  atomic {
    run consumer(1);
    run consumer(2)
  }
}

ltl endedRan      { [] (state == ended -> ranOk) }
ltl noResurrection { [] !resurrected }
ltl noForeignAck  { [] !foreignAck }
ltl noStaleBury   { [] !staleBury }
ltl neverVanishes { [] !vanished }
