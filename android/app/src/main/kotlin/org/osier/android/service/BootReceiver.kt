package org.osier.android.service

import android.content.BroadcastReceiver
import android.content.Context
import android.content.Intent
import android.net.VpnService
import org.osier.android.node
import org.osier.android.node.PreferenceStore

/** After the boot, and after an update of the app: goes on as the switch was left. */
class BootReceiver : BroadcastReceiver() {
    override fun onReceive(context: Context, intent: Intent) {
        if (intent.action !in STARTS || !PreferenceStore(context).load().startAtBoot) return
        val state = goAsync()
        context.node.whenKnown { service ->
            if (service.on && service.member != null) resume(context)
            state?.finish()
        }
    }

    private fun resume(context: Context) {
        if (VpnService.prepare(context) != null) return Notices(context).needsPermission()
        context.startForegroundService(Intent(context, OsierVpnService::class.java).setAction(OsierVpnService.RESUME))
    }

    private companion object {
        val STARTS = setOf(Intent.ACTION_LOCKED_BOOT_COMPLETED, Intent.ACTION_BOOT_COMPLETED, Intent.ACTION_MY_PACKAGE_REPLACED)
    }
}
