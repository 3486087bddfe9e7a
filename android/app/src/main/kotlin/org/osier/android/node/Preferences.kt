package org.osier.android.node

import android.content.Context
import android.content.SharedPreferences

/** What the user has set; the switch itself is the session's to remember. */
data class Preferences(
    val apps: AppFilter = AppFilter.ALL,
    /** Package names that [apps] is about. */
    val packages: Set<String> = emptySet(),
    /** Apps are told that the mesh costs money, whatever the network beneath does. */
    val metered: Boolean = false,
    val startAtBoot: Boolean = true,
    /** Carry others' traffic: not a leaf. */
    val carry: Boolean = false,
) {
    /** Whether the device has to be set up anew to go from one to the other. */
    fun sameDevice(other: Preferences): Boolean = apps == other.apps && packages == other.packages && metered == other.metered
}

enum class AppFilter { ALL, ONLY, EXCEPT }

/** Where [Preferences] are kept: readable before the device is unlocked, as they are needed at boot. */
class PreferenceStore(context: Context) {
    private val stored: SharedPreferences =
        context.createDeviceProtectedStorageContext().getSharedPreferences("preferences", Context.MODE_PRIVATE)

    fun load(): Preferences {
        val none = Preferences()
        return Preferences(
            apps = AppFilter.entries.find { it.name == stored.getString("apps", null) } ?: none.apps,
            packages = stored.getStringSet("packages", null)?.toSet() ?: none.packages,
            metered = stored.getBoolean("metered", none.metered),
            startAtBoot = stored.getBoolean("start_at_boot", none.startAtBoot),
            carry = stored.getBoolean("carry", none.carry),
        )
    }

    fun save(preferences: Preferences) = stored.edit()
        .putString("apps", preferences.apps.name)
        .putStringSet("packages", preferences.packages)
        .putBoolean("metered", preferences.metered)
        .putBoolean("start_at_boot", preferences.startAtBoot)
        .putBoolean("carry", preferences.carry)
        .apply()
}
