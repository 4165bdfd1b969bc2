/// A bug that is built in and switched off: what the simulator's oracles are tested with.
///
/// Only a simulator ever sets one. Names are part of what a recorded seed means: never reuse one.
public enum Mutant: String, Sendable, CaseIterable {
    /// No bug.
    case none

    // Grabs.
    case dedupOff
    case limitIgnored
    case requestForgotten
    case requestForgottenAtLimitOne
    case repeatOfAnother
    case grantsAfterClose
    case grantsBeforeOpening
    case grantsWhilePaused
    case grantsQuarantined
    case claimNotJournaled
    case replyOfAnotherAmount
    case repeatDoesNotWait
    case claimsForgetOldest

    // Orders.
    case reserveForgotten
    case reserveLimitIgnored
    case oversell
    case holdCutShort
    case expiryReturnsTwice
    case cancelReturnsTwice
    case cancelsPaid
    case mismatchPaid
    case paymentForgotten
    case secondPaymentPaid
    case refundDueDropped
    case latePaymentNotJournaled
    case refundTwice
    case restockTwice
    case latePaymentTakesNothing
    case cancelNotJournaled
    case ordersOfAnother

    // Pools and transfers.
    case createOverwrites
    case refillTwice
    case leaseTwice
    case grantsUnsecured
    case unconfirmedForgotten
    case reportCountedTwice
    case returnTwice
    case controlNotJournaled

    // Restart.
    case unleasedForgotten
    case quarantineSkipped
    case replayForgetsRequests
    case timeGoesBack
    case recoveredTailNotSynced
    case directoryNotSynced
    case damageCutOff

    // The shell around the core.
    case earlyAck
    case fsyncSkipped
    case framesBeforeCommit
    case cleanStopForged
    case snapshotAhead
    case snapshotForgetsHolds
    case snapshotCopiesLater

    // From journal to store.
    case watermarkOutside
    case halfOfATransaction
    case watermarkOlder
    case uncommittedShipped
    case rowsLostInDeadlock
    case storeTrusted

    // What a node says of itself.
    case limitNeverLowered
    case openingNotMoved
    case pausedForGood
    case closesAtFormerTime
    case stockClosesLate
    case holdHalved
    case restartSleeps
    case soldOutEarly
    case limitEarly
    case earlyTooLong
    case closedTooSoon
    case latePaymentRefused
    case latestAfterLimitOne
    case restocksLess
    case infoFenShort
    case inquiryKept
    case damageNamesAnother

    // Replicas: those that `ReplicationMutant` knows by the same names, and those of the core.
    case acksBeforeBackups
    case localShrink
    case compareWithoutMembers
    case leaseLongerThanGrace
    case soleWithoutFlush
    case learnerTooEarly
    case learnersBelowStore
    case standInDropped
    case proposedGrantNothing
    case laterCopyCounts
    case servesUnleased
    case refusalsUncommitted
    case framesOfOneCoreEarly
    case takeoverKeepsMemory
    case sealedGrants
    case oldLogsShipped
    case orphanTakesEpoch
    case ownersForgotten
    // The ends of slices and treasuries.
    case soldOutAtOnce
    case recallForgetsSlice
    case waiterForgotten
    case soldOutForGood
    case soldOutToldOnce
    case operatorsBeforeDisk
    case soldOutBelieved
    case regionsApart
    case lastUnitKept
    case lostReturnForgotten
    // Refusal at the door.
    case filterWithoutLatest
    case filterBelieved
    case doorsNotAwaited
    case doorsOfQuarantined
    // What operators make of quarantined units.
    case resolvedTwice
    case resolutionNotJournaled
    case retiredGranted
    // The archive.
    case archivedUnstored
    case archivedUnsealed
    case writesUnread
    case archivedWinnerClosed
    case archivedReplicaKeeps
    case archivedMarkForgotten
    case archivedOrdersUnstored
    case archivedOrderOpen
    case archivedOrdersForgotten
    case archivedRepeatClosed
    case recalledStale
    case recalledLosesPayment
    case compactionForgets
    case numbersReused
    case lostNumbersReused
    case evictionForgets
    // Redis: its scripts, and who uses them.
    case scriptVersionIgnored
    case scriptGapTaken
    case damageForgotten
    case publishedTwice
    case publishedOverLimit
    case trimmedUnacknowledged
    case buriedUnasked
    case replayIdentity
    case deadNotKept
    case mirrorNotRebuilt
    case outboxNotFed

    /// What the bug is, in a sentence.
    public var summary: String {
        switch self {
        case .none: "no bug"
        case .dedupOff: "a user's second grab is granted instead of repeated"
        case .limitIgnored: "a user at the limit is granted another packet"
        case .requestForgotten: "a retry under the same request id is granted again"
        case .requestForgottenAtLimitOne:
            "a claim made under LIMIT 1 is not known by its request once the limit is raised"
        case .repeatOfAnother: "a retry hears the result of the claim before its own"
        case .grantsAfterClose: "a slice that closes goes on granting"
        case .grantsBeforeOpening: "a slice grants before its rain opens"
        case .grantsWhilePaused: "a slice grants while its rain is paused"
        case .grantsQuarantined: "a quarantined slice goes on granting"
        case .claimNotJournaled: "one grant in seven is applied and never journaled"
        case .replyOfAnotherAmount: "one reply in sixteen names a fen more than was granted"
        case .repeatDoesNotWait: "a repeat is told before its claim is durable"
        case .claimsForgetOldest: "a list of claims leaves out the oldest"
        case .reserveForgotten: "a retried reservation makes another order"
        case .reserveLimitIgnored: "a user at the limit reserves more"
        case .oversell: "a sold-out SKU goes on selling"
        case .holdCutShort: "a reservation is held half as long as its user was told"
        case .expiryReturnsTwice: "an expired order returns its units twice"
        case .cancelReturnsTwice: "a cancelled order returns its units twice"
        case .cancelsPaid: "cancelling a paid order is answered `cancelled`"
        case .mismatchPaid: "a payment of a wrong amount is accepted"
        case .paymentForgotten: "a repeated payment is answered `refund`"
        case .secondPaymentPaid: "a second payment of an order is answered `paid`"
        case .refundDueDropped: "a payment that buys nothing is answered and not journaled"
        case .latePaymentNotJournaled: "a late payment is answered `late` and not journaled"
        case .refundTwice: "a repeated refund is made again"
        case .restockTwice: "a refund puts its units back twice"
        case .latePaymentTakesNothing: "a late payment takes no units anew"
        case .cancelNotJournaled: "a cancellation is answered and not journaled"
        case .ordersOfAnother: "a list of orders leaves out the newest"
        case .createOverwrites: "creating a pool with other values is answered OK"
        case .refillTwice: "a repeated refill puts its units in again"
        case .leaseTwice: "a lease that comes twice is credited twice"
        case .grantsUnsecured: "a memory slice grants before what it was given is durable"
        case .unconfirmedForgotten: "frames that got lost are never sent again"
        case .reportCountedTwice: "INFO adds up what a slice told twice"
        case .returnTwice: "a return that comes twice is taken twice"
        case .controlNotJournaled: "a change of terms is applied and not journaled"
        case .unleasedForgotten: "what a crash cut off from its leases stays in the treasury"
        case .quarantineSkipped: "a memory slice goes on granting after a crash"
        case .replayForgetsRequests: "a restart forgets which request made a claim"
        case .timeGoesBack: "a shard's time follows the wall clock backwards"
        case .recoveredTailNotSynced: "a start builds on entries that were written and never synced"
        case .directoryNotSynced: "a new data directory's name is never synced"
        case .damageCutOff: "damage before the tail is cut off as if it were the tail"
        case .earlyAck: "answers leave before their entries are durable"
        case .fsyncSkipped: "the journal says it is synced when it is only written"
        case .framesBeforeCommit: "frames leave before their entries are durable"
        case .cleanStopForged: "a killed process leaves the mark of a clean stop"
        case .snapshotAhead: "a snapshot is saved before the journal holds what is in it"
        case .snapshotForgetsHolds: "orders from a snapshot are never let go"
        case .snapshotCopiesLater: "a snapshot holds claims that came while it was copied"
        case .watermarkOutside: "the store's rows commit without their watermark"
        case .halfOfATransaction: "a failing transaction leaves its first rows behind"
        case .storeTrusted: "nobody looks whether an idle store was restored"
        case .watermarkOlder: "the store refuses a batch only if it ends before its watermark"
        case .uncommittedShipped: "entries go to the store before they are durable"
        case .rowsLostInDeadlock: "a deadlock rolls rows back and leaves their watermark"
        case .limitNeverLowered: "slices go by the highest limit they were ever told"
        case .openingNotMoved: "ALTER OPENS is answered OK and changes nothing"
        case .pausedForGood: "a slice that was paused once stays so"
        case .closesAtFormerTime: "a pool whose closing time was moved closes at the former one"
        case .stockClosesLate: "a SKU goes on selling for two seconds after it closes"
        case .holdHalved: "a reservation is held half as long as its SKU says, and its user told so"
        case .restartSleeps: "after a restart nobody is woken for the first hold that ends"
        case .soldOutEarly: "a slice is sold out with its last unit left"
        case .limitEarly: "a user one below the limit is told to be at it"
        case .earlyTooLong: "for half a second after a rain opens users are told that it is early"
        case .closedTooSoon: "for half a second before a rain closes users are told that it has"
        case .latePaymentRefused: "a late payment is given back though the units are there"
        case .latestAfterLimitOne: "once the limit was 1, a retry hears the user's latest claim"
        case .restocksLess: "a refund puts back a unit less than it was asked to"
        case .infoFenShort: "INFO tells a fen less than was granted"
        case .inquiryKept: "an answered INFO stays in the list of those that wait"
        case .damageNamesAnother: "a start that meets damage names another file"
        case .acksBeforeBackups, .localShrink,
            .compareWithoutMembers, .leaseLongerThanGrace,
            .soleWithoutFlush, .learnerTooEarly,
            .learnersBelowStore, .standInDropped, .proposedGrantNothing, .laterCopyCounts:
            ReplicationMutant(rawValue: rawValue)?.summary ?? rawValue
        case .servesUnleased: "a primary whose lease is over goes on answering"
        case .refusalsUncommitted: "refusals leave before what they have read is committed"
        case .framesOfOneCoreEarly:
            "what one shard says to another of its core does not wait for replicas"
        case .takeoverKeepsMemory:
            "whoever takes a shard over goes on granting what memory slices hold"
        case .sealedGrants: "a shard that is opened sealed goes on granting"
        case .orphanTakesEpoch:
            "what a former process left is taken to be of the epoch that was read since"
        case .oldLogsShipped: "entries of logs that were dropped go to the store"
        case .ownersForgotten: "other cores are not told who leads a shard now"
        case .soldOutAtOnce: "a pool is certified sold out once a single round has found nothing"
        case .recallForgetsSlice:
            "a recall passes over a pool's last slice, which tells that it is empty"
        case .waiterForgotten: "the last of those who wait for units is never answered"
        case .soldOutForGood: "a certificate is never withdrawn"
        case .soldOutToldOnce: "whoever takes a home up does not repeat its certificates"
        case .operatorsBeforeDisk: "operators are answered when replicas have it, and no disk"
        case .soldOutBelieved: "a certificate is believed for good once it was heard"
        case .regionsApart: "a region is told sold out though others hold units"
        case .lastUnitKept: "a treasury keeps its last unit"
        case .lostReturnForgotten: "what a slice gave back and got lost is never sent again"
        case .filterWithoutLatest: "a filter of winners is made without the latest of them"
        case .filterBelieved:
            "a filter of winners is believed for good, whatever came back since it was made"
        case .doorsOfQuarantined:
            "users are refused at the door of a rain of which an operator may still release packets"
        case .doorsNotAwaited: "a slice sells what came back while others refuse by its filter"
        case .resolvedTwice: "a release puts its units back twice"
        case .resolutionNotJournaled: "what an operator decided about a slice is not journaled"
        case .retiredGranted: "what an operator took out of a pool is granted on"
        case .archivedUnstored: "claims leave memory before the store has them"
        case .writesUnread: "entries of a later protocol are written before all nodes know it"
        case .archivedUnsealed: "claims leave memory while their slice is open"
        case .archivedWinnerClosed: "an archived winner is answered `closed`"
        case .archivedReplicaKeeps: "whoever follows a slice keeps what its primary has archived"
        case .archivedMarkForgotten: "a snapshot forgets that a slice was archived"
        case .archivedOrdersUnstored: "orders leave memory before the store has them"
        case .archivedOrderOpen: "orders leave memory while one of them is open"
        case .archivedOrdersForgotten: "a snapshot forgets that a SKU's slice was archived"
        case .archivedRepeatClosed: "a reservation of an archived SKU is `closed` to who has one"
        case .recalledStale: "what the store says of an order is believed though it has changed"
        case .recalledLosesPayment:
            "a payment that bought an archived order is new when it comes again"
        case .compactionForgets: "compaction loses an order of another SKU"
        case .numbersReused: "numbers of archived orders are given again"
        case .lostNumbersReused: "numbers of orders that all copies have lost are given again"
        case .evictionForgets:
            "who is no longer told apart of the archived orders that changed counts as unchanged"
        case .scriptVersionIgnored: "a late write of totals takes the place of a newer one"
        case .scriptGapTaken: "a run of changes is taken though those before it are missing"
        case .damageForgotten: "only who finds a pool's keys damaged is told, if he hears of it"
        case .publishedTwice: "events that are sent again are added again"
        case .publishedOverLimit: "events that find the stream full are taken for published"
        case .trimmedUnacknowledged:
            "the stream is trimmed of what was delivered, acknowledged or not"
        case .buriedUnasked: "an event becomes a dead letter though it was acknowledged meanwhile"
        case .replayIdentity: "a dead letter comes back under another event id"
        case .deadNotKept: "what is a dead letter is deleted from the outbox like what was taken"
        case .mirrorNotRebuilt: "totals that Redis has lost are not read from the store again"
        case .outboxNotFed: "events that Redis has lost are not read from the outbox again"
        }
    }
}
