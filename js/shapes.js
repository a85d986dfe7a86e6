// Types of the arguments and results of `sisock.js`, for editors and TypeScript; contains no code.

/** @typedef {Float64Array|Float32Array|Int32Array|Int16Array|Int8Array|Uint32Array|Uint16Array|Uint8Array|BigInt64Array|BigUint64Array} TypedArray */
/** @typedef {TypedArray|(string|boolean|null)[]} Values numbers as a typed array, NaN where one is missing; others with null */
/** @typedef {number|bigint|boolean|string|null} Value */
/** @typedef {[number|null, number|null]|null} Range low and high */

/**
 * @typedef {object} DataNode
 * @property {string} name
 * @property {string} description
 * @property {string|null} trouble what keeps the node from serving
 * @property {string[]} features
 * @property {string} generation changes if samples may have changed
 */

/**
 * @typedef {object} Field a node's description of a field; null for what it leaves out
 * @property {string|null} description
 * @property {"number"|"string"|"bool"} type
 * @property {string|null} units
 * @property {string} timeline
 * @property {{ warning: Range, alarm: Range }} limits
 * @property {number|null} precision digits worth showing after the point
 * @property {Object<string, string>} labels value to text
 * @property {number|null} interval mean spacing of the samples, in seconds
 * @property {number|null} first UNIX time of the first sample
 * @property {number|null} last UNIX time of the last sample
 * @property {number|null} staleAfter seconds without a sample that mean trouble
 */

/**
 * @typedef {object} Samples
 * @property {Float64Array} t UNIX times, ascending
 * @property {Values} values
 * @property {number|null} finalizedUntil time before which samples never change; null: all are final
 * @property {number|null} bucket bucket size of decimated samples; null: all samples
 * @property {number|null} finalTo time before which the node's samples are final; null if unknown
 * @property {boolean} isPlaced whether the times of decimated samples are only those of their buckets
 */
/** @typedef {Field & Samples} Series */
/** @typedef {Field & { t: number, value: Value }} Latest */
/** @typedef {{ timeline: string, gap: { start: number, end: number } }} Gap samples between two times are lost */
/** @typedef {{ timeline: string, t: number, values: Object<string, Value>, gap?: undefined }} Sample */
/** @typedef {{ timeline: string, t: Float64Array, values: Object<string, Values>, gap?: undefined }} Batch */

/**
 * @typedef {object} GetOptions at most one of the first three
 * @property {number} [minStride] minimum seconds between samples
 * @property {number} [maxPoints] maximum samples of each field; spikes are kept
 * @property {number} [bucket] size of the grid's buckets in seconds, a power of two
 * @property {AbortSignal} [signal]
 */

/**
 * @typedef {object} FollowOptions
 * @property {string[]|null|(() => string[]|null)} [fields] names, or null for all; or a function that returns them
 * @property {number|null|(() => number|null)} [maxPoints] maximum samples of a field when missed ones are fetched
 */

/**
 * @typedef {{ state: "joined" }|{ state: "waiting", seconds: number, reason: string }|
 *   { state: "refused", kind: string, reason: string }} ConnectionState
 */

/**
 * @typedef {object} SiteOptions
 * @property {string} name letters, digits, - and _
 * @property {string} [secret] of the user there; without one the site waits for `signIn`
 * @property {string} [url]
 * @property {string} [user]
 * @property {string} [realm]
 */

/**
 * @typedef {object} SitesOptions options other than `sites` apply to all of them
 * @property {SiteOptions[]} sites
 * @property {string} [user] WAMP user
 * @property {string} [realm]
 * @property {(state: ConnectionState & { site: string }) => void} [onState]
 * @property {Function} [ws]
 */

/**
 * @typedef {object} SiteState
 * @property {string} name
 * @property {string|undefined} url
 * @property {"connecting"|"joined"|"waiting"|"refused"} state waiting for the next try, or for another secret
 * @property {"secret"|"refused"|"realm"|null} kind of refusal: no secret, a wrong one, or a wrong realm
 * @property {string|null} reason what is wrong
 * @property {number|null} since UNIX time when the connection was lost
 */

/**
 * @typedef {object} ConnectOptions
 * @property {string} secret of the user
 * @property {string} [url] wss://host:port/ws; default: the server of the page
 * @property {string} [user] WAMP user
 * @property {string} [realm]
 * @property {(state: ConnectionState) => void} [onState] called after joining, before each new try, and when
 *   the router refuses
 * @property {Function} [ws] a WebSocket class, if there is no global one; default: that of the package ws
 */

export {};
