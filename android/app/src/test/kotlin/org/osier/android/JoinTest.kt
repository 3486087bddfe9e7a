package org.osier.android

import android.Manifest
import android.app.Activity
import android.content.Intent
import android.content.pm.PackageManager
import android.net.Uri
import android.view.View
import android.view.ViewGroup
import android.widget.EditText
import android.widget.TextView
import com.google.zxing.BarcodeFormat
import com.google.zxing.qrcode.QRCodeWriter
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.osier.android.node.AppFilter
import org.osier.android.node.Command
import org.osier.android.node.Preferences
import org.osier.android.ui.Codes
import org.osier.android.ui.Invites
import org.osier.android.ui.MainActivity
import org.osier.android.ui.ScanActivity
import org.osier.mobile.SessionException
import org.robolectric.Robolectric
import org.robolectric.RobolectricTestRunner
import org.robolectric.Shadows.shadowOf
import org.robolectric.shadows.ShadowVpnService

/** Every view below this one. */
fun View.all(): List<View> = listOf(this) + if (this is ViewGroup) (0 until childCount).flatMap { getChildAt(it).all() } else emptyList()

fun Activity.shown(text: String): List<TextView> =
    window.decorView.all().filterIsInstance<TextView>().filter { it.isShown && it.text.toString() == text }

fun Activity.tap(text: String) {
    val view = checkNotNull(shown(text).firstOrNull { it.isClickable }) { "nothing to tap says $text" }
    view.performClick()
}

private const val INVITE = "osier://join/AbCd-123_xyz"

/** Joining by a link, a paste or a code, with good and bad input. */
@RunWith(RobolectricTestRunner::class)
class JoinTest {
    private fun open(link: String? = INVITE): MainActivity {
        val intent = if (link == null) Intent(Intent.ACTION_MAIN) else Intent(Intent.ACTION_VIEW, Uri.parse(link))
        return Robolectric.buildActivity(MainActivity::class.java, intent).setup().get()
    }

    private fun MainActivity.fields() = window.decorView.all().filterIsInstance<EditText>().filter { it.isShown }

    @Test
    fun `a link fills the invite in, and nothing is joined before the user says so`() {
        val phone = Phone(FakeSession())
        val screen = open()
        until("it is in the field") { screen.fields().firstOrNull()?.text.toString() == INVITE }
        assertEquals(1, screen.shown("The invite came with a link. Check the name and press Join.").size)
        assertFalse(phone.session.calls.any { it.startsWith("join") })

        screen.fields()[1].setText("kitchen-phone")
        screen.tap("Join")
        phone.startAsked()
        until("it has joined") { phone.node.state.value.joined }
        assertTrue("join $INVITE kitchen-phone" in phone.session.calls)
        until("the device is set up") { phone.session.devicesGiven.isNotEmpty() }
        until("the home screen is shown") { screen.shown("Connected, 4 neighbours").isNotEmpty() }
        assertTrue("a used invite is not kept on a screen", screen.window.decorView.all().none { it is TextView && INVITE in it.text })
    }

    @Test
    fun `joining waits for the permission, and goes on when it is given`() {
        val phone = Phone(FakeSession(), mayTunnel = false)
        val screen = open()
        until("it is in the field") { screen.fields().firstOrNull()?.text.toString() == INVITE }
        screen.tap("Join")
        until("the system asks") { shadowOf(screen).peekNextStartedActivityForResult() != null }
        val asked = shadowOf(screen).nextStartedActivityForResult
        assertEquals("the system's question", asked.intent.action)
        assertFalse(phone.session.calls.any { it.startsWith("join") })

        ShadowVpnService.setPrepareResult(null)
        shadowOf(screen).receiveResult(asked.intent, Activity.RESULT_OK, null)
        phone.startAsked()
        until("it has joined") { phone.node.state.value.joined }
    }

    @Test
    fun `refusals are told in words, and the invite stays`() {
        val refusals = mapOf<(String) -> SessionException, List<Pair<String, String>>>(
            { code: String -> SessionException.Invite(FakeSession.problem(code)) } to listOf(
                "invite-expired" to "The invite has expired. Ask for a new one.",
                "invite-used" to "The invite has been used up. Ask for a new one.",
                "invite-invalid" to "The invite is damaged or incomplete. Copy the whole of it, or ask for a new one.",
                "invite-unknown" to "The registry does not know the invite. It may have been withdrawn: ask for a new one.",
            ),
            { code: String -> SessionException.Name(FakeSession.problem(code)) } to listOf(
                "name-taken" to "Another device already has the name \u2068robolectric\u2069. Choose another one.",
            ),
            { code: String -> SessionException.NotProtected(FakeSession.problem(code)) } to listOf(
                "socket-not-protected" to "Joining failed: something is wrong. Do something about it",
            ),
        )
        val phone = Phone(FakeSession())
        val screen = open()
        until("it is in the field") { screen.fields().firstOrNull()?.text.toString() == INVITE }
        var first = true
        for ((make, list) in refusals) for ((code, text) in list) {
            phone.session.joins = { throw make(code) }
            screen.tap("Join")
            if (first) phone.startAsked()
            first = false
            until("it is told: $text") { screen.shown(text).isNotEmpty() }
            assertEquals(INVITE, screen.fields()[0].text.toString())
        }
        assertTrue("nothing is left running", phone.stopped)
    }

    @Test
    fun `bad input is told before anybody is asked`() {
        val phone = Phone(FakeSession())
        val screen = open(null)
        until("the way to join is shown") { screen.shown("Join a network").any { it.isClickable } }
        screen.tap("Join a network")
        val (invite, name) = screen.fields()
        fun refused(inviteText: String, nameText: String, told: String) {
            invite.setText(inviteText)
            name.setText(nameText)
            screen.tap("Join")
            assertEquals("$inviteText, $nameText", 1, screen.shown(told).size)
        }
        refused("", "phone", "Paste an invite first.")
        refused("https://example.org", "phone", "This is not an Osier invite. It begins with osier://join/")
        val damaged = "The invite is damaged or incomplete. Copy the whole of it, or ask for a new one."
        refused("osier://join/a b!", "phone", damaged)
        refused("osier://join/" + "a".repeat(9000), "phone", damaged)
        refused(INVITE, "x".repeat(200), "A name has at most 63 characters; this one has 200.")
        val badName = "A name has 1 to 63 letters, digits and hyphens, and begins and ends with a letter or digit."
        refused(INVITE, "هاتفي", badName)
        refused(INVITE, "-phone", badName)
        refused(INVITE, "", badName)
        settle()
        assertFalse(phone.session.calls.any { it.startsWith("join") })
        assertFalse(phone.askedToStart)
    }

    @Test
    fun `a code is read from what a camera sees`() {
        val size = 240
        val code = QRCodeWriter().encode(INVITE, BarcodeFormat.QR_CODE, size, size)
        // Rows are often longer than the picture is wide.
        val stride = 256
        val luma = ByteArray(stride * size) { at -> if (at % stride < size && code[at % stride, at / stride]) 0 else -1 }
        assertEquals(INVITE, Codes.read(luma, stride, size, size))
        assertEquals("with a short last row", INVITE, Codes.read(luma.copyOf(luma.size - (stride - size)), stride, size, size))
        val inverted = ByteArray(luma.size) { (255 - luma[it]).toByte() }
        assertEquals(INVITE, Codes.read(inverted, stride, size, size))
        assertNull(Codes.read(ByteArray(stride * size), stride, size, size))
    }

    @Test
    fun `what was scanned is in the field`() {
        val phone = Phone(FakeSession())
        val screen = open(null)
        until("the way to join is shown") { screen.shown("Join a network").any { it.isClickable } }
        screen.tap("Join a network")
        screen.tap("Scan the QR code")
        val scan = shadowOf(screen).nextStartedActivityForResult.intent
        assertEquals(ScanActivity::class.java.name, scan.component?.className)
        shadowOf(screen).receiveResult(scan, Activity.RESULT_OK, Intent().putExtra(ScanActivity.INVITE, INVITE))
        until("it is in the field") { screen.fields()[0].text.toString() == INVITE }
        assertFalse(phone.session.calls.any { it.startsWith("join") })
    }

    @Test
    fun `without the camera's permission it is said what to do`() {
        Phone(FakeSession())
        val scan = Robolectric.buildActivity(ScanActivity::class.java).setup().get()
        assertEquals("it is asked for", Manifest.permission.CAMERA, shadowOf(scan).lastRequestedPermission.requestedPermissions.single())
        scan.onRequestPermissionsResult(1, arrayOf(Manifest.permission.CAMERA), intArrayOf(PackageManager.PERMISSION_DENIED))
        assertEquals(1, scan.shown("Without the camera no code can be scanned. Allow it in the settings of Android, or paste the invite.").size)
    }

    @Test
    fun `a name is proposed from the model`() {
        assertEquals("pixel-8-pro", Invites.proposedName("Pixel 8 Pro"))
        assertEquals("phone", Invites.proposedName("手机"))
        assertEquals(63, Invites.proposedName("m".repeat(200)).length)
    }

    @Test
    fun `what the user sets is kept`() {
        val phone = Phone(FakeSession(FakeSession.off))
        val set = Preferences(AppFilter.EXCEPT, setOf("org.example.bank"), metered = true, startAtBoot = false, carry = false)
        phone.node.send(Command.Prefer(set))
        until("it is set") { phone.node.state.value.preferences == set }
        assertEquals(set, org.osier.android.node.PreferenceStore(phone.app).load())
    }
}
